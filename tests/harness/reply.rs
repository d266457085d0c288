//! What came back, by whatever client.

use serde_json::Value;

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, in the order of the answer.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// A success, and its JSON.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        self.json()
    }

    /// An error of the specification's form (checklist: Errors, T8).
    #[track_caller]
    pub fn refused(&self, status: u16, name: &str) {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{text}");
        let json = self.json();
        assert_eq!(json["errorName"], name, "{text}");
        let fields: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert!(fields.iter().all(|field| *field == "errorName" || *field == "errorMessage"), "{text}");
        let message = json["errorMessage"].as_str().unwrap_or_default();
        assert!(message.len() < 512 && message.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
        assert!(!message.is_empty(), "an error says what to do: {text}");
    }

    /// The first whole HTTP/1.1 answer in `bytes`, past any `100 Continue`, and where it ends; `None` while it isn't
    /// whole. Without a Content-Length it has no body.
    pub fn parse(bytes: &[u8]) -> Option<(Reply, usize)> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response
            .parse(bytes)
            .unwrap_or_else(|error| panic!("{error} in the answer {:?}", String::from_utf8_lossy(bytes)));
        let httparse::Status::Complete(head) = parsed else { return None };
        let status = response.code?;
        if status == 100 {
            let (reply, end) = Self::parse(&bytes[head..])?;
            return Some((reply, head + end));
        }
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers: Vec<(String, String)> = response
            .headers
            .iter()
            .map(|header| (header.name.to_ascii_lowercase(), text(header.value)))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, value)| value.parse().unwrap());
        let body = bytes.get(head..head + length)?.to_vec();
        Some((Reply { version: "HTTP/1.1".into(), status, headers, body }, head + length))
    }
}

impl From<holdfast_client::Answer> for Reply {
    fn from(answer: holdfast_client::Answer) -> Reply {
        let headers = answer.headers.iter();
        let headers = headers.map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        Reply {
            version: format!("{:?}", answer.version),
            status: answer.status.as_u16(),
            headers: headers.collect(),
            body: answer.body.to_vec(),
        }
    }
}
