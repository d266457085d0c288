//! Imports and exports as text.

use std::fmt;

use serde::Serialize;
use wasmtime::Engine;
use wasmtime::component::Type;
use wasmtime::component::types::{ComponentExtern, ComponentFunc, ComponentItem};

/// One import or export of a component.
#[derive(Debug, Serialize)]
pub struct Interface {
    /// Such as `holdfast:authn/sigv4@0.1.0`.
    pub name: String,
    /// Of an instance, its functions; of a function, itself.
    pub functions: Vec<Function>,
    /// Whether it has plain types and nothing else; as an import it asks for nothing.
    pub types_only: bool,
}

/// A function's name and signature.
#[derive(Debug, Serialize)]
pub struct Function {
    pub name: String,
    pub signature: String,
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.signature)
    }
}

impl Interface {
    pub fn of(engine: &Engine, (name, item): (&str, ComponentExtern<'_>)) -> Self {
        let plain = |ty: &ComponentItem| matches!(ty, ComponentItem::Type(_));
        let (functions, types_only) = match &item.ty {
            ComponentItem::ComponentFunc(function) => (vec![Function::of(name, function)], false),
            ComponentItem::ComponentInstance(instance) => {
                let function = |(name, item): (&str, ComponentExtern<'_>)| match item.ty {
                    ComponentItem::ComponentFunc(function) => Some(Function::of(name, &function)),
                    _ => None,
                };
                let types_only = instance.exports(engine).all(|(_, item)| plain(&item.ty));
                (instance.exports(engine).filter_map(function).collect(), types_only)
            }
            other => (Vec::new(), plain(other)),
        };
        Self { name: name.to_owned(), functions, types_only }
    }
}

impl Function {
    fn of(name: &str, function: &ComponentFunc) -> Self {
        let parameters: Vec<String> =
            function.params().map(|(name, ty)| format!("{name}: {}", show(&ty))).collect();
        let results: Vec<String> = function.results().map(|ty| show(&ty)).collect();
        let asynchronous = if function.async_() { "async " } else { "" };
        let arrow = if results.is_empty() { "" } else { " -> " };
        let signature = format!("{asynchronous}func({}){arrow}{}", parameters.join(", "), results.join(", "));
        Self { name: name.to_owned(), signature }
    }
}

/// A type without the names that a component's binary form doesn't keep: a record is the list of its fields.
fn show(ty: &Type) -> String {
    let or_none = |ty: Option<Type>| ty.map_or("_".to_owned(), |ty| show(&ty));
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::S8 => "s8".to_owned(),
        Type::U8 => "u8".to_owned(),
        Type::S16 => "s16".to_owned(),
        Type::U16 => "u16".to_owned(),
        Type::S32 => "s32".to_owned(),
        Type::U32 => "u32".to_owned(),
        Type::S64 => "s64".to_owned(),
        Type::U64 => "u64".to_owned(),
        Type::Float32 => "f32".to_owned(),
        Type::Float64 => "f64".to_owned(),
        Type::Char => "char".to_owned(),
        Type::String => "string".to_owned(),
        Type::List(list) => format!("list<{}>", show(&list.ty())),
        Type::FixedLengthList(list) => format!("list<{}, {}>", show(&list.ty()), list.len()),
        Type::Map(map) => format!("map<{}, {}>", show(&map.key()), show(&map.value())),
        Type::Record(record) => {
            let fields = record.fields().map(|field| format!("{}: {}", field.name, show(&field.ty)));
            format!("record {{ {} }}", joined(fields))
        }
        Type::Tuple(tuple) => format!("tuple<{}>", joined(tuple.types().map(|ty| show(&ty)))),
        Type::Variant(variant) => {
            let cases = variant.cases().map(|case| match case.ty {
                Some(ty) => format!("{}({})", case.name, show(&ty)),
                None => case.name.to_owned(),
            });
            format!("variant {{ {} }}", joined(cases))
        }
        Type::Enum(names) => format!("enum {{ {} }}", joined(names.names().map(str::to_owned))),
        Type::Flags(names) => format!("flags {{ {} }}", joined(names.names().map(str::to_owned))),
        Type::Option(option) => format!("option<{}>", show(&option.ty())),
        Type::Result(result) => format!("result<{}, {}>", or_none(result.ok()), or_none(result.err())),
        Type::Own(_) => "own<resource>".to_owned(),
        Type::Borrow(_) => "borrow<resource>".to_owned(),
        Type::Future(future) => format!("future<{}>", or_none(future.ty())),
        Type::Stream(stream) => format!("stream<{}>", or_none(stream.ty())),
        Type::ErrorContext => "error-context".to_owned(),
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
