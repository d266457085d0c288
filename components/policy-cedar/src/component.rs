//! The engine as a component: one document, configured once.

use std::cell::OnceCell;

use crate::wit::exports::holdfast::policy::policy::Guest;
use crate::{Decision, Description, Effect, Engine, Facts, Problem, Query, Source, memory};

thread_local! {
    /// Lives in the memory that the host snapshots, so that a fresh instance starts out configured.
    static ENGINE: OnceCell<Engine> = const { OnceCell::new() };
}

struct Component;

crate::wit::export!(Component with_types_in crate::wit);

impl Guest for Component {
    fn configure(document: Vec<Source>) -> Result<(), Vec<Problem>> {
        let engine = Engine::configure(&document)?;
        ENGINE.with(|cell| {
            cell.set(engine).map_err(|_| {
                vec![Problem {
                    source: String::new(),
                    line: 0,
                    column: 0,
                    message: "configure was called twice; an instance takes one document".to_owned(),
                }]
            })
        })?;
        memory::begin_decisions();
        Ok(())
    }

    fn describe() -> Description {
        ENGINE.with(|cell| match cell.get() {
            Some(engine) => engine.describe(),
            None => Description {
                engine: String::new(),
                reads: Facts::empty(),
                rules: Vec::new(),
                messages: Vec::new(),
            },
        })
    }

    fn evaluate(query: Query) -> Decision {
        ENGINE.with(|cell| match cell.get() {
            Some(engine) => engine.evaluate(&query),
            None => Decision {
                effect: Effect::Deny,
                rules: Vec::new(),
                errors: vec!["evaluate was called before configure".to_owned()],
            },
        })
    }
}
