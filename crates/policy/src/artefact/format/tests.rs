use crate::artefact::format::*;

fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), text: text.to_owned() }
}

fn artefact() -> Artefact {
    Artefact {
        component: wat::parse_str("(component (core module (func)))").unwrap(),
        manifest: Some(Manifest {
            name: "payments".to_owned(),
            version: "1.2.0".to_owned(),
            description: "Who pays.\nAnd who doesn't.".to_owned(),
        }),
        document: vec![
            source("rules.cedar", "permit (principal, action, resource);"),
            source("g.json", "[]"),
        ],
        tests: vec![source("cases.toml", "")],
    }
}

#[test]
fn what_was_packed_comes_out_and_the_same_parts_give_the_same_bytes() {
    let bytes = artefact().encode().unwrap();
    assert_eq!(Artefact::read(&bytes).unwrap(), artefact());
    assert_eq!(artefact().encode().unwrap(), bytes);
    assert_eq!(artefact_digest(&bytes).len(), 64);
}

#[test]
fn an_artefact_is_still_a_component() {
    let bytes = artefact().encode().unwrap();
    let engine = wasmtime::Engine::default();
    wasmtime::component::Component::from_binary(&engine, &bytes).unwrap();
}

#[test]
fn a_component_on_its_own_is_an_artefact_without_document() {
    let component = artefact().component;
    let read = Artefact::read(&component).unwrap();
    assert_eq!((read.manifest, read.document.len(), &read.component), (None, 0, &component));
}

#[test]
fn damage_anywhere_in_the_section_is_an_error_or_another_content_and_never_a_panic() {
    let whole = artefact().encode().unwrap();
    let component = artefact().component.len();
    for at in component..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            if let Ok(read) = Artefact::read(&damaged) {
                assert_ne!(read, artefact(), "byte {at}, bit {bit}");
            }
        }
        assert!(Artefact::read(&whole[..at]).is_err() || at == component, "cut at {at}");
    }
}

#[test]
fn nothing_may_follow_the_section() {
    let mut bytes = artefact().encode().unwrap();
    bytes.extend_from_slice(b"\x00\x05\x04more");
    assert_eq!(Artefact::read(&bytes), Err(ArtefactError::NotLast));
    let twice = Artefact { component: artefact().encode().unwrap(), ..artefact() };
    assert!(matches!(twice.encode(), Err(ArtefactError::Part(_))));
}

#[test]
fn what_is_no_component_is_refused() {
    assert_eq!(Artefact::read(b"\0asm\x01\0\0\0"), Err(ArtefactError::NoComponent));
    assert_eq!(Artefact::read(b"\x7fELF\x02\x01"), Err(ArtefactError::CompiledCode));
    assert_eq!(Artefact::read(b""), Err(ArtefactError::NoComponent));
}

#[test]
fn names_that_could_leave_a_folder_are_refused() {
    for name in ["", "..", "a/b", "a\\b", "a\nb"] {
        let bad = Artefact { document: vec![source(name, "")], ..artefact() };
        assert!(matches!(bad.encode(), Err(ArtefactError::Part(_))), "{name:?}");
    }
    let twice = Artefact { document: vec![source("a", ""), source("a", "")], ..artefact() };
    assert!(matches!(twice.encode(), Err(ArtefactError::Part(_))));
}
