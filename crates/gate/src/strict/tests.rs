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
}
