//! WASI with everything denied, for components whose language can't do without it.
//!
//! There are no files, no arguments, no environment and no network; what is written to the standard streams is dropped.
//! The clocks show the time of the query where the policy declares that it reads it, and else stand at 0; random numbers
//! are always the same, and nothing is waited for. So a decision stays a function of the query, and can be replayed.
//!
//! A denial follows from a function's type: an error where there can be one, else nothing, none or 0. So there is no
//! implementation of files and sockets in the host that could be used, and new functions are denied the day they appear.

use wasmtime::component::types::{Case, ComponentFunc, ComponentItem};
use wasmtime::component::{Component, Linker, Resource, ResourceAny, ResourceType, Type, Val};
use wasmtime::{Engine, Result, StoreContextMut, bail};

/// The packages of WASI 0.2 that a component may import from. Not `http`: there is nothing empty to give for it.
pub const WASI_PACKAGES: &[&str] =
    &["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];
/// Repeated without end.
const RANDOM: &[u8] = b"not random, so that decisions are repeatable";
const RANDOM_LIMIT: u64 = 64 * 1024;
/// What a stream takes at a time, to drop it.
const ROOM: u64 = 64 * 1024;
const NANOSECONDS: u64 = 1_000_000_000;

/// Whether an import is given, in its denied form.
pub(crate) fn is_given(import: &str) -> bool {
    WASI_PACKAGES.iter().any(|package| import.starts_with(package))
}

/// What a store knows of a guest that has WASI.
pub(crate) trait HasWasi: 'static {
    /// What this one has of it.
    fn wasi(&mut self) -> &mut Denied;
}

/// Puts what a component imports of the denied WASI into a linker.
pub(crate) fn add_to_linker<T: HasWasi>(
    linker: &mut Linker<T>,
    engine: &Engine,
    code: &Component,
) -> Result<()> {
    for (import, item) in code.component_type().imports(engine).filter(|(import, _)| is_given(import)) {
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        let interface = import.split_once('@').map_or(import, |(interface, _)| interface);
        let mut to = linker.instance(import)?;
        for (name, item) in instance.exports(engine) {
            match item.ty {
                ComponentItem::Resource(_) => {
                    to.resource(name, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
                }
                ComponentItem::ComponentFunc(_) => {
                    let answer = Answer::to(interface, name);
                    to.func_new(name, move |store, function, arguments, results| {
                        answer.give(store, &function, arguments, results)
                    })?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// What every handle of a resource refers to.
struct Nothing;

/// What one instance has of WASI.
pub(crate) struct Denied {
    time: u64,
    random: std::iter::Cycle<std::slice::Iter<'static, u8>>,
}

impl Denied {
    /// Whose clocks show `time`, in seconds since 1970.
    pub(crate) fn at(time: u64) -> Denied {
        Denied { time, random: RANDOM.iter().cycle() }
    }
}

/// How a function answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// As its type allows.
    Denied,
    /// By ending the decision.
    Trap,
    /// The time of the query.
    Time,
    /// A clock's resolution, as a time and as a number.
    Second,
    Nanoseconds,
    RandomBytes,
    RandomNumber,
    /// Whoever waits goes on.
    Ready,
    AllReady,
    /// A stream takes what it is given.
    Room,
    Written,
}

impl Answer {
    fn to(interface: &str, function: &str) -> Answer {
        match (interface, function) {
            ("wasi:cli/exit", _) => Answer::Trap,
            ("wasi:clocks/wall-clock", "now") => Answer::Time,
            ("wasi:clocks/wall-clock", "resolution") => Answer::Second,
            ("wasi:clocks/monotonic-clock", "resolution") => Answer::Nanoseconds,
            ("wasi:random/random", "get-random-bytes") => Answer::RandomBytes,
            ("wasi:random/random", "get-random-u64") => Answer::RandomNumber,
            ("wasi:random/insecure", "get-insecure-random-bytes") => Answer::RandomBytes,
            ("wasi:random/insecure", "get-insecure-random-u64") => Answer::RandomNumber,
            ("wasi:io/poll", "[method]pollable.ready") => Answer::Ready,
            ("wasi:io/poll", "poll") => Answer::AllReady,
            ("wasi:io/streams", "[method]output-stream.check-write") => Answer::Room,
            (
                "wasi:io/streams",
                "[method]output-stream.write"
                | "[method]output-stream.blocking-write-and-flush"
                | "[method]output-stream.flush"
                | "[method]output-stream.blocking-flush"
                | "[method]output-stream.write-zeroes"
                | "[method]output-stream.blocking-write-zeroes-and-flush",
            ) => Answer::Written,
            _ => Answer::Denied,
        }
    }

    fn give(
        self,
        mut store: StoreContextMut<'_, impl HasWasi>,
        function: &ComponentFunc,
        arguments: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        if self == Answer::Trap {
            bail!("it wants to exit");
        }
        let (Some(result), Some(ty)) = (results.first_mut(), function.results().next()) else {
            return Ok(());
        };
        let denied = store.data_mut().wasi();
        *result = match self {
            Answer::Time => time(denied.time),
            Answer::Second => time(1),
            Answer::Nanoseconds => Val::U64(NANOSECONDS),
            Answer::RandomBytes => {
                let Some(Val::U64(length @ ..=RANDOM_LIMIT)) = arguments.first() else {
                    bail!("more than {RANDOM_LIMIT} random bytes at once");
                };
                let length = usize::try_from(*length)?;
                Val::List(denied.random.by_ref().take(length).map(|byte| Val::U8(*byte)).collect())
            }
            Answer::RandomNumber => {
                let bytes = denied.random.by_ref().take(8);
                Val::U64(bytes.fold(0, |number, byte| number << 8 | u64::from(*byte)))
            }
            Answer::Ready => Val::Bool(true),
            Answer::AllReady => {
                let Some(Val::List(waited)) = arguments.first() else { bail!("a poll of nothing") };
                Val::List((0..u32::try_from(waited.len())?).map(Val::U32).collect())
            }
            Answer::Room => Val::Result(Ok(Some(Box::new(Val::U64(ROOM))))),
            Answer::Written => Val::Result(Ok(None)),
            Answer::Denied | Answer::Trap => deny(&mut store, &ty)?,
        };
        Ok(())
    }
}

/// A `datetime`.
fn time(seconds: u64) -> Val {
    Val::Record(vec![("seconds".into(), Val::U64(seconds)), ("nanoseconds".into(), Val::U32(0))])
}

/// The least that a type allows.
fn deny(store: &mut StoreContextMut<'_, impl HasWasi>, ty: &Type) -> Result<Val> {
    Ok(match ty {
        Type::Bool => Val::Bool(false),
        Type::S8 => Val::S8(0),
        Type::U8 => Val::U8(0),
        Type::S16 => Val::S16(0),
        Type::U16 => Val::U16(0),
        Type::S32 => Val::S32(0),
        Type::U32 => Val::U32(0),
        Type::S64 => Val::S64(0),
        Type::U64 => Val::U64(0),
        Type::Float32 => Val::Float32(0.0),
        Type::Float64 => Val::Float64(0.0),
        Type::Char => Val::Char('\0'),
        Type::String => Val::String(String::new()),
        Type::List(_) => Val::List(Vec::new()),
        Type::Map(_) => Val::Map(Vec::new()),
        Type::Option(_) => Val::Option(None),
        Type::Flags(_) => Val::Flags(Vec::new()),
        Type::Record(record) => {
            let fields = record.fields().map(|field| Ok((field.name.to_owned(), deny(store, &field.ty)?)));
            Val::Record(fields.collect::<Result<_>>()?)
        }
        Type::Tuple(tuple) => Val::Tuple(tuple.types().map(|ty| deny(store, &ty)).collect::<Result<_>>()?),
        Type::Result(result) => {
            Val::Result(Err(result.err().map(|ty| deny(store, &ty).map(Box::new)).transpose()?))
        }
        Type::Enum(names) => {
            let name = denial(names.names().collect(), |name| name).or_else(|| names.names().next());
            Val::Enum(name.unwrap_or_default().to_owned())
        }
        Type::Variant(variant) => {
            let case = denial(variant.cases().collect(), |case: &Case<'_>| case.name);
            let Some(case) = case.or_else(|| variant.cases().next()) else { bail!("a variant of nothing") };
            let payload = case.ty.map(|ty| deny(store, &ty).map(Box::new)).transpose()?;
            Val::Variant(case.name.to_owned(), payload)
        }
        Type::Own(_) => {
            Val::Resource(ResourceAny::try_from_resource(Resource::<Nothing>::new_own(0), store)?)
        }
        Type::Borrow(_)
        | Type::Future(_)
        | Type::Stream(_)
        | Type::ErrorContext
        | Type::FixedLengthList(_) => {
            bail!("it asks for what can't be denied")
        }
    })
}

/// The case that says that something isn't allowed, as the packages call it; of a stream, that it has ended.
fn denial<T>(cases: Vec<T>, name: impl Fn(&T) -> &str) -> Option<T> {
    cases.into_iter().find(|case| matches!(name(case), "access" | "access-denied" | "closed"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::decide::engines;
    use crate::decide::guest::{self, Run};

    const LARGE: usize = 1 << 20;

    /// What a function of WASI answers to a component whose query is of the year 2001.
    async fn asked(interface: &str, function: &str, ty: &str) -> Result<Val> {
        let component = format!(
            r#"(component
                (import "{interface}@0.2.3" (instance $wasi (export "{function}" (func {ty}))))
                (core func $lowered (canon lower (func $wasi "{function}")))
                (func (export "ask") {ty} (canon lift (core func $lowered))))"#
        );
        let engine = engines::unpooled_engine().unwrap();
        let code = Component::new(&engine, wat::parse_str(component).unwrap()).unwrap();
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker, &engine, &code).unwrap();
        let mut store = guest::store(&engine, Run::Loading, Duration::from_secs(10), LARGE, LARGE);
        store.data_mut().wasi = Some(Box::new(Denied::at(1_000_000_000)));
        let instance = linker.instantiate_async(&mut store, &code).await?;
        let ask = instance.get_func(&mut store, "ask").unwrap();
        let mut answer = [Val::Bool(false)];
        ask.call_async(&mut store, &[], &mut answer).await?;
        let [answer] = answer;
        Ok(answer)
    }

    #[tokio::test]
    async fn what_can_fail_fails_and_all_else_is_nothing() {
        let connect = asked("wasi:sockets/tcp", "start-connect", "(result (result))").await.unwrap();
        assert_eq!(connect, Val::Result(Err(None)));
        let preopens = asked("wasi:filesystem/preopens", "how-many", "(result u32)").await.unwrap();
        assert_eq!(preopens, Val::U32(0));
        let of_the_future = asked("wasi:cli/environment", "is-root", "(result bool)").await.unwrap();
        assert_eq!(of_the_future, Val::Bool(false));
    }

    #[tokio::test]
    async fn clocks_stand_and_random_numbers_are_always_the_same() {
        let clock = "wasi:clocks/monotonic-clock";
        assert_eq!(asked(clock, "now", "(result u64)").await.unwrap(), Val::U64(0));
        assert_eq!(asked(clock, "resolution", "(result u64)").await.unwrap(), Val::U64(NANOSECONDS));
        let random = || asked("wasi:random/random", "get-random-u64", "(result u64)");
        let (one, other) = (random().await.unwrap(), random().await.unwrap());
        assert_eq!(one, Val::U64(u64::from_be_bytes(*b"not rand")));
        assert_eq!(one, other);
    }

    #[tokio::test]
    async fn an_exit_ends_the_decision() {
        let error = asked("wasi:cli/exit", "exit", "(result u32)").await.unwrap_err();
        assert!(format!("{error:?}").contains("it wants to exit"), "{error:?}");
    }

    #[test]
    fn an_error_says_that_it_is_not_allowed_where_there_is_such_a_case() {
        let denial = |cases: &[&'static str]| denial(cases.to_vec(), |case| case);
        assert_eq!(denial(&["would-block", "access", "bad-descriptor"]), Some("access"));
        assert_eq!(denial(&["unknown", "access-denied"]), Some("access-denied"));
        assert_eq!(denial(&["last-operation-failed", "closed"]), Some("closed"));
        assert_eq!(denial(&["name-unresolvable"]), None);
    }
}
