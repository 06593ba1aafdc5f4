//! Canonical JSON, as in-toto's own signature wrapper has it: sorted keys, no white space, only `"`
//! and `\` escaped, no fractions. [OLPC's dialect](http://wiki.laptop.org/go/Canonical_JSON).

use serde_json::Value;

/// The bytes of `value`; none if it holds a number that is not an integer.
pub(crate) fn to_vec(value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Some(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::Number(_) => return None,
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            // By code points, which is the order of UTF-8 bytes, whatever order the map keeps.
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            out.push(b'{');
            for (index, (key, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                string(key, out);
                out.push(b':');
                write(value, out)?;
            }
            out.push(b'}');
        }
    }
    Some(())
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_are_those_of_the_reference_implementation() {
        let value = json!({
            "ä": "line\nbreak \"quoted\" C:\\new",
            "b": [1, -2, true, false, null, {}],
            "a": {"z": [], "\u{1}": "tab\t"},
        });
        // securesystemslib.formats.encode_canonical of the same.
        let expected = "{\"a\":{\"\u{1}\":\"tab\t\",\"z\":[]},\"b\":[1,-2,true,false,null,{}],\
            \"ä\":\"line\nbreak \\\"quoted\\\" C:\\\\new\"}";
        assert_eq!(to_vec(&value).as_deref(), Some(expected.as_bytes()));
        assert_eq!(to_vec(&json!([1.5])), None);
    }
}
