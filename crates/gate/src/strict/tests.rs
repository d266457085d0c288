use super::*;
use proptest::prelude::*;

fn refused(text: &str) -> bool {
    object(text.as_bytes()).is_err()
}

#[test]
fn an_object_is_read_in_order() {
    let value = object(br#" {"b":[1,-2,0.5,true,null],"a":{"x":"\u00e9\n"}} "#).unwrap();
    assert_eq!(value[0].0, "b");
    assert_eq!(value[0].1.to_json(), "[1,-2,0.5,true,null]");
    assert_eq!(value[1].1.to_json(), "{\"x\":\"\u{e9}\\n\"}");
}

#[test]
fn ambiguous_texts_are_refused() {
    for text in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"x":{"a":1,"a":1}}"#,
        r#"[{"a":1,"a":1}]"#,
        r#"{"a":1}{}"#,
        r#"{"a":1} x"#,
        "\u{feff}{}",
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\udc00\ud800"}"#,
        "{\"a\":\"\u{1}\"}",
        r#"{"a":1,}"#,
        r#"{'a':1}"#,
        r#"{"a":NaN}"#,
        r#"{"a":1e999}"#,
        r#"{"a":01}"#,
        "[]",
        "\"text\"",
        "",
    ] {
        assert!(refused(text), "{text}");
    }
    assert_eq!(object(b"{\"a\":\"\xff\"}").err(), Some(StrictFault::Utf8));
}

#[test]
fn nesting_is_bounded() {
    let nested = |n: usize| format!("{{\"a\":{}1{}}}", "[".repeat(n), "]".repeat(n));
    assert!(!refused(&nested(DEPTH_LIMIT - 1)));
    assert!(refused(&nested(DEPTH_LIMIT)));
    assert!(refused(&nested(60_000)));
}

#[test]
fn many_members_are_checked_for_repetition_too() {
    let members = |last: &str| {
        let names: Vec<String> = (0..200).map(|i| format!("\"n{i}\":0")).collect();
        format!("{{{},\"{last}\":0}}", names.join(","))
    };
    assert!(!refused(&members("n200")));
    assert!(refused(&members("n7")));
}

#[test]
fn a_written_text_shows_what_it_holds() {
    let text = "a\u{1b}[2J\u{7f}\u{85}\u{2028}\u{202e}\u{2066}\u{200b}\u{feff}\u{0}\u{e9}\u{1f600}";
    let mut out = String::new();
    write_text(&mut out, text);
    let escaped = r"a\u001b[2J\u007f\u0085\u2028\u202e\u2066\u200b\ufeff\u0000";
    assert_eq!(out, format!("\"{escaped}\u{e9}\u{1f600}\""));
    assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::Array),
            prop::collection::hash_map(".{0,6}", inner, 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_json_writes_is_read_and_written_back(value in prop::collection::hash_map(".{0,6}", json(), 0..6)) {
        let value = serde_json::Value::Object(value.into_iter().collect());
        let text = value.to_string();
        let read = Value::Object(object(text.as_bytes()).unwrap());
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&read.to_json()).unwrap(), value);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = object(&bytes);
    }

    #[test]
    fn what_is_taken_every_other_reader_reads_the_same(text in r#"[{}\[\]",:0-9a-e\\un .\-]{0,60}"#) {
        let text = format!("{{\"a\":{text}}}");
        if let Ok(members) = object(text.as_bytes()) {
            let other: serde_json::Value = serde_json::from_str(&text).unwrap();
            let ours = Value::Object(members).to_json();
            prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&ours).unwrap(), &other);
            prop_assert_eq!(Value::Object(object(ours.as_bytes()).unwrap()).to_json(), ours);
        }
    }

    #[test]
    fn a_repeated_name_is_refused_wherever_it_stands(
        members in prop::collection::vec((".{0,6}", json()), 1..40),
        which in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        depth in 0..8_usize,
    ) {
        let text = |member: &(String, serde_json::Value)| format!("{}:{}", serde_json::Value::from(member.0.as_str()), member.1);
        let unique: std::collections::BTreeMap<_, _> = members.into_iter().collect();
        let mut members: Vec<String> = unique.into_iter().map(|member| text(&member)).collect();
        let inside = |members: &[String]| format!("{}{{{}}}{}", "{\"x\":[".repeat(depth), members.join(","), "]}".repeat(depth));
        // What is generated has up to 4 levels of its own, and each here is 2.
        if object(inside(&members).as_bytes()).is_ok() {
            let again = members[which.index(members.len())].clone();
            members.insert(place.index(members.len() + 1), again);
            prop_assert!(refused(&inside(&members)));
        }
    }
}
