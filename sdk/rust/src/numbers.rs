use core::fmt::Write;

use crate::{Fault, Level, Line, Verdict};

/// Reads a configuration that is one flat JSON object of numbers into settings, each a name with the place of its value. It
/// is strict: a key that is not a setting, a key twice and anything but a number is an error that says what would be right.
/// Names of settings have no escapes; there can be 64.
pub fn numbers(json: &str, settings: &mut [(&str, &mut f64)]) -> Verdict {
    let mut line = Line::new();
    read(json, settings, &mut line).map_err(|_| {
        line.log(Level::Error);
        Fault::Logged
    })
}

/// A reader's error: its text is in the line.
struct Told;

macro_rules! told {
    ($line:expr, $($text:tt)*) => {{
        let _ = write!($line, $($text)*); // a line takes everything
        Err(Told)
    }};
}

fn read(json: &str, settings: &mut [(&str, &mut f64)], line: &mut Line) -> Result<(), Told> {
    let mut rest = match next(json, "{") {
        Some(rest) => rest,
        None => return told!(line, "the configuration should be a JSON object"),
    };
    let mut seen = 0u64;
    let mut more = true;
    if let Some(after) = next(rest, "}") {
        rest = after;
        more = false;
    }
    while more {
        let quoted = match next(rest, "\"") {
            Some(quoted) => quoted,
            None => return told!(line, "the configuration should have a key in quotes at {:?}", excerpt(rest)),
        };
        let (name, after) = match quoted.split_once('"') {
            Some(parts) => parts,
            None => return told!(line, "the configuration has a key that does not end"),
        };
        rest = after;
        let place = match settings.iter().position(|s| s.0 == name) {
            Some(place) => place,
            None => {
                let _ = write!(line, "there is no setting {name:?}; there are");
                for (i, s) in settings.iter().enumerate() {
                    let _ = write!(line, "{} {}", if i > 0 { "," } else { "" }, s.0);
                }
                return Err(Told);
            }
        };
        if seen >> place & 1 == 1 {
            return told!(line, "{name:?} is there twice");
        }
        seen |= 1 << place;
        rest = match next(rest, ":") {
            Some(after) => after.trim_start_matches(SPACE),
            None => return told!(line, "a colon should follow {name:?}"),
        };
        let end = rest.find(|c| !matches!(c, '+' | '-' | '.' | 'e' | 'E' | '0'..='9')).unwrap_or(rest.len());
        match rest[..end].parse::<f64>() {
            Ok(v) if v.is_finite() && !rest.starts_with('+') => *settings[place].1 = v,
            _ => return told!(line, "{name} should be a number, is {}", excerpt(rest)),
        }
        rest = &rest[end..];
        if let Some(after) = next(rest, ",") {
            rest = after;
        } else if let Some(after) = next(rest, "}") {
            rest = after;
            more = false;
        } else {
            return told!(line, "a comma or brace should follow the value of {name:?}");
        }
    }
    if !rest.trim_start_matches(SPACE).is_empty() {
        return told!(line, "something follows the configuration's object");
    }
    Ok(())
}

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

fn next<'a>(text: &'a str, token: &str) -> Option<&'a str> {
    text.trim_start_matches(SPACE).strip_prefix(token)
}

/// The value or whatever else stands at the beginning of a text, at most 20 characters of it.
fn excerpt(text: &str) -> &str {
    let text = text.split(',').next().unwrap_or("");
    let end = text.char_indices().nth(20).map_or(text.len(), |(i, _)| i);
    text[..end].trim_matches(|c| SPACE.contains(&c) || c == '}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: &str) -> Result<(f64, f64), std::string::String> {
        let (mut a, mut b) = (1.0, 2.0);
        let mut line = Line::new();
        match read(json, &mut [("a", &mut a), ("b", &mut b)], &mut line) {
            Ok(()) => Ok((a, b)),
            Err(Told) => Err(line.as_str().into()),
        }
    }

    #[test]
    fn settings_that_are_given_are_set() {
        assert_eq!(said("{}"), Ok((1.0, 2.0)));
        assert_eq!(said(" {\"b\" : -0.5e3 } "), Ok((1.0, -500.0)));
        assert_eq!(said("{\"a\":7,\"b\":0.1}"), Ok((7.0, 0.1)));
    }

    #[test]
    fn mistakes_are_told_with_what_would_be_right() {
        for (json, says) in [
            ("", "the configuration should be a JSON object"),
            ("[1]", "the configuration should be a JSON object"),
            ("{\"a\":1,\"a\":2}", "\"a\" is there twice"),
            ("{\"c\":1}", "there is no setting \"c\"; there are a, b"),
            ("{\"a\":\"1\"}", "a should be a number, is \"1\""),
            ("{\"a\":true,\"b\":1}", "a should be a number, is true"),
            ("{\"a\":1e999}", "a should be a number, is 1e999"),
            ("{\"a\":1", "a comma or brace should follow the value of \"a\""),
            ("{\"a\" 1}", "a colon should follow \"a\""),
            ("{\"a\":1}{}", "something follows the configuration's object"),
            ("{a:1}", "the configuration should have a key in quotes at \"a:1\""),
            ("{\"a", "the configuration has a key that does not end"),
        ] {
            assert_eq!(said(json), Err(says.into()), "{json}");
        }
    }
}
