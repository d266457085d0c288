//! Takes out of a configured policy what only configuring needs. A parser of policies is as large as their evaluator, and code
//! that no decision runs would be compiled, kept and shipped for nothing.
//!
//! Functions keep their numbers: a body that nothing can reach becomes a trap, so what is wrongly taken out refuses. The
//! contract has `configure` called once, before a snapshot is taken (`wit/policy`), so its body goes too; it says that the
//! document is refused, by a list without problems, should somebody call it again.

use std::collections::HashSet;
use std::ops::Range;

use wasm_encoder::{CodeSection, ComponentSectionId, RawSection, SectionId};
use wasmparser::{
    BinaryReaderError, CompositeInnerType, ConstExpr, ElementItems, Export, ExternalKind, FunctionBody,
    Operator, Parser, Payload, TypeRef, ValType,
};

/// What `wit-component` calls the core function of the contract's `configure`.
const CONFIGURE: &str = "#configure";
/// And the one that frees its result.
const POST_RETURN: &str = "cabi_post_";
/// Where `configure` leaves its result, in bytes from the start of the memory: discriminant, then address and length of a list.
const RESULT: i32 = 16;

/// The same component without what only its core module's `configure` reaches. One of another shape is given back as it is.
pub(crate) fn configure(component: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut stripped = wasm_encoder::Component::new();
    for (id, range) in sections(component)? {
        let data = &component[range];
        let module = match id == ComponentSectionId::CoreModule as u8 {
            true => Module::read(data)?.stripped(data)?,
            false => None,
        };
        stripped.section(&RawSection { id, data: module.as_deref().unwrap_or(data) });
    }
    Ok(stripped.finish())
}

/// The outermost sections of a module or component.
fn sections(bytes: &[u8]) -> Result<Vec<(u8, Range<usize>)>, BinaryReaderError> {
    let (mut sections, mut depth) = (Vec::new(), 0);
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if depth == 0 {
            sections.extend(payload.as_section());
        }
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            // That of the whole is the last.
            Payload::End(_) if depth > 0 => depth -= 1,
            _ => {}
        }
    }
    Ok(sections)
}

/// The functions of a module, and from where they can be reached.
#[derive(Default)]
struct Module<'a> {
    /// Of each type, whether a function of it takes two `i32` and gives one, or takes one and gives none.
    types: Vec<(bool, bool)>,
    imported: u32,
    /// The types of those that it defines.
    defined: Vec<u32>,
    bodies: Vec<FunctionBody<'a>>,
    exports: Vec<Export<'a>>,
    /// Tables, globals and the start function.
    referenced: Vec<u32>,
}

impl<'a> Module<'a> {
    fn read(bytes: &'a [u8]) -> Result<Module<'a>, BinaryReaderError> {
        let mut module = Module::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::TypeSection(groups) => {
                    for group in groups {
                        module.types.extend(group?.types().map(|ty| shape(&ty.composite_type.inner)));
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        module.imported +=
                            u32::from(matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)));
                    }
                }
                Payload::FunctionSection(functions) => {
                    module.defined = functions.into_iter().collect::<Result<_, _>>()?;
                }
                Payload::TableSection(tables) => {
                    for table in tables {
                        if let wasmparser::TableInit::Expr(init) = table?.init {
                            module.refer(&init)?;
                        }
                    }
                }
                Payload::GlobalSection(globals) => {
                    for global in globals {
                        module.refer(&global?.init_expr)?;
                    }
                }
                Payload::ElementSection(elements) => {
                    for element in elements {
                        match element?.items {
                            ElementItems::Functions(functions) => {
                                for function in functions {
                                    module.referenced.push(function?);
                                }
                            }
                            ElementItems::Expressions(_, items) => {
                                for item in items {
                                    module.refer(&item?)?;
                                }
                            }
                        }
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            module.exports.push(export);
                        }
                    }
                }
                Payload::StartSection { func, .. } => module.referenced.push(func),
                Payload::CodeSectionEntry(body) => module.bodies.push(body),
                _ => {}
            }
        }
        Ok(module)
    }

    fn refer(&mut self, expression: &ConstExpr<'_>) -> Result<(), BinaryReaderError> {
        for operator in expression.get_operators_reader() {
            if let Operator::RefFunc { function_index } = operator? {
                self.referenced.push(function_index);
            }
        }
        Ok(())
    }

    /// The index among the defined functions.
    fn index(&self, function: u32) -> Option<usize> {
        Some(function.checked_sub(self.imported)? as usize).filter(|index| *index < self.bodies.len())
    }

    /// Of all that is reached from these functions.
    fn reached(&self, mut waiting: Vec<u32>) -> Result<HashSet<usize>, BinaryReaderError> {
        let mut reached = HashSet::new();
        while let Some(function) = waiting.pop() {
            let Some(index) = self.index(function).filter(|index| reached.insert(*index)) else { continue };
            for operator in self.bodies[index].get_operators_reader()? {
                match operator? {
                    Operator::Call { function_index }
                    | Operator::ReturnCall { function_index }
                    | Operator::RefFunc { function_index } => waiting.push(function_index),
                    _ => {}
                }
            }
        }
        Ok(reached)
    }

    /// `None` where there is no `configure` whose body can be replaced.
    fn stripped(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, BinaryReaderError> {
        let configuring = |export: &&Export<'_>| export.name.ends_with(CONFIGURE);
        let (mut configure, mut post_return) = (None, None);
        for export in self.exports.iter().filter(configuring) {
            let index = self.index(export.index);
            match export.name.starts_with(POST_RETURN) {
                true => post_return = index,
                false => configure = index,
            }
        }
        let shape = |index: usize| self.types.get(*self.defined.get(index)? as usize).copied();
        let Some(configure) = configure.filter(|index| shape(*index).is_some_and(|(returns, _)| returns))
        else {
            return Ok(None);
        };
        let post_return = post_return.filter(|index| shape(*index).is_some_and(|(_, frees)| frees));
        let others = self.exports.iter().filter(|export| {
            let index = self.index(export.index);
            !configuring(export) || index != Some(configure) && index != post_return
        });
        let roots = self.referenced.iter().copied().chain(others.map(|export| export.index));
        let reached = self.reached(roots.collect())?;
        if reached.contains(&configure) {
            return Ok(None);
        }

        let mut code = CodeSection::new();
        for (index, body) in self.bodies.iter().enumerate() {
            if reached.contains(&index) {
                code.raw(&bytes[body.range()]);
            } else if index == configure {
                code.function(&refusing());
            } else if Some(index) == post_return {
                code.function(&body_of(&[]));
            } else {
                code.function(&body_of(&[wasm_encoder::Instruction::Unreachable]));
            }
        }
        let mut module = wasm_encoder::Module::new();
        for (id, range) in sections(bytes)? {
            match id == SectionId::Code as u8 {
                true => module.section(&code),
                false => module.section(&RawSection { id, data: &bytes[range] }),
            };
        }
        Ok(Some(module.finish()))
    }
}

fn shape(ty: &CompositeInnerType) -> (bool, bool) {
    const I32: ValType = ValType::I32;
    match ty {
        CompositeInnerType::Func(ty) => (
            ty.params() == [I32, I32] && ty.results() == [I32],
            ty.params() == [I32] && ty.results().is_empty(),
        ),
        _ => (false, false),
    }
}

/// `configure` that gives `err` of an empty list. What is in its way is overwritten: an instance that is configured again
/// isn't used.
fn refusing() -> wasm_encoder::Function {
    use wasm_encoder::Instruction::{I32Const, I32Store};
    let word = |offset| wasm_encoder::MemArg { offset, align: 2, memory_index: 0 };
    body_of(&[
        I32Const(RESULT),
        I32Const(1),
        I32Store(word(0)),
        I32Const(RESULT),
        I32Const(RESULT),
        I32Store(word(4)),
        I32Const(RESULT),
        I32Const(0),
        I32Store(word(8)),
        I32Const(RESULT),
    ])
}

fn body_of(instructions: &[wasm_encoder::Instruction<'_>]) -> wasm_encoder::Function {
    let mut function = wasm_encoder::Function::new([]);
    for instruction in instructions {
        function.instruction(instruction);
    }
    function.instruction(&wasm_encoder::Instruction::End);
    function
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Engine, Instance, Module, Store};

    const TEXT: &str = r#"(component (core module
        (import "i" "f" (func $imported))
        (memory (export "memory") 1)
        (table 1 funcref)
        (elem (i32.const 0) $in_a_table)
        (func $only_configure (result i32) (i32.const 70) (call $only_it_too) (drop))
        (func $only_it_too (result i32) (i32.const 71) (i32.const 71) (i32.add))
        (func $both (result i32) (i32.const 72))
        (func $in_a_table (call $from_a_table))
        (func $from_a_table (drop (i32.const 73)))
        (func (export "x#configure") (param i32 i32) (result i32) (call $both) (drop (call $only_configure)))
        (func (export "cabi_post_x#configure") (param i32) unreachable)
        (func (export "x#evaluate") (result i32) (call $both))
        (func (export "table") (call_indirect (i32.const 0)))))"#;

    /// The first core module of a component.
    fn module(component: &[u8]) -> &[u8] {
        let (_, range) = sections(component).unwrap().into_iter().find(|(id, _)| *id == 1).unwrap();
        &component[range]
    }

    fn instance(store: &mut Store<()>, component: &[u8]) -> Instance {
        let module = Module::new(store.engine(), module(component)).unwrap();
        let import = wasmtime::Func::wrap(&mut *store, || {});
        Instance::new(store, &module, &[import.into()]).unwrap()
    }

    #[test]
    fn what_only_configure_reaches_goes_and_the_rest_stays() {
        let whole = wat::parse_str(TEXT).unwrap();
        let stripped = configure(&whole).unwrap();
        let has = |component: &[u8], constant: i8| {
            let constant = [0x41, (constant & 0x7f) as u8 | 0x80, 0];
            component.windows(3).any(|window| window == constant)
        };
        for constant in [70, 71, 72, 73] {
            assert!(has(&whole, constant), "{constant}");
        }
        assert!(!has(&stripped, 70) && !has(&stripped, 71));
        let mut store = Store::new(&Engine::default(), ());
        let instance = instance(&mut store, &stripped);
        let evaluate = instance.get_typed_func::<(), i32>(&mut store, "x#evaluate").unwrap();
        assert_eq!(evaluate.call(&mut store, ()).unwrap(), 72);
        instance.get_typed_func::<(), ()>(&mut store, "table").unwrap().call(&mut store, ()).unwrap();
    }

    #[test]
    fn configure_refuses_afterwards() {
        let stripped = configure(&wat::parse_str(TEXT).unwrap()).unwrap();
        let mut store = Store::new(&Engine::default(), ());
        let instance = instance(&mut store, &stripped);
        let refuses = instance.get_typed_func::<(i32, i32), i32>(&mut store, "x#configure").unwrap();
        let at = refuses.call(&mut store, (0, 0)).unwrap() as usize;
        let frees = instance.get_typed_func::<i32, ()>(&mut store, "cabi_post_x#configure").unwrap();
        frees.call(&mut store, at as i32).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        assert_eq!(memory.data(&store)[at], 1, "err");
        assert_eq!(memory.data(&store)[at + 8..at + 12], [0; 4], "of no problems");
    }

    #[test]
    fn a_component_of_another_shape_stays_as_it_is() {
        for (from, to) in [
            ("x#configure", "x#other"),
            ("(param i32 i32) (result i32) (call $both)", "(param i64 i32) (result i32) (call $both)"),
            // Something else may call it.
            ("(elem (i32.const 0) $in_a_table)", "(elem (i32.const 0) $c)"),
        ] {
            let text = TEXT.replace("(func (export \"x#configure\")", "(func $c (export \"x#configure\")");
            let whole = wat::parse_str(text.replace(from, to)).unwrap();
            assert_eq!(configure(&whole).unwrap(), whole, "{to}");
        }
    }
}
