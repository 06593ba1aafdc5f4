//! Licences from Debian's copyright files.
//!
//! <https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>

use std::collections::BTreeMap;

use crate::component::License;

/// Bytes of a copyright file.
pub(super) const LARGEST: u64 = 2 << 20;
/// Bytes of the text of one licence that is kept.
const TEXT: usize = 8 << 10;
const MOST: usize = 200;

const COMMON: &str = "/usr/share/common-licenses/";

/// Of which package `path` is the copyright file.
pub(super) fn package(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("usr/share/doc/")?;
    let name = rest.strip_suffix("/copyright")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// The licences that it names, each once.
pub(super) fn parse(text: &str) -> Vec<License> {
    let mut named: BTreeMap<&str, String> = BTreeMap::new();
    let mut last: Option<&str> = None;
    let mut is_machine_readable = false;
    for line in text.lines() {
        if let Some(more) = line.strip_prefix(' ') {
            if let Some(text) = last.and_then(|it| named.get_mut(it))
                && text.len() < TEXT
            {
                text.push_str(if more == "." { "" } else { more });
                text.push('\n');
            }
            continue;
        }
        last = None;
        let Some((field, value)) = line.split_once(':') else {
            continue;
        };
        if field.eq_ignore_ascii_case("Format")
            || field.eq_ignore_ascii_case("Format-Specification")
        {
            is_machine_readable = true;
        }
        let value = value.trim();
        if is_machine_readable
            && field.eq_ignore_ascii_case("License")
            && !value.is_empty()
            && named.len() < MOST
        {
            last = Some(value);
            named.entry(value).or_default();
        }
    }
    let mut licenses: Vec<License> = named
        .into_iter()
        .map(|(name, text)| match expression(name) {
            Some(expression) => License::Expression(expression),
            None => License::Named {
                name: name.to_owned(),
                text: (!text.trim().is_empty()).then(|| text.trim_end().to_owned()),
            },
        })
        .collect();
    if licenses.is_empty() {
        licenses = common(text);
    }
    licenses.sort();
    licenses.dedup();
    licenses
}

/// The licences that are common on a Debian system, and that others refer to by path.
fn common(text: &str) -> Vec<License> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    let names = text.split(COMMON).skip(1).take(MOST).filter_map(|rest| {
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let name = rest.get(..end)?.trim_end_matches('.');
        (!name.is_empty()).then_some(name)
    });
    // Without a version, the newest is meant, which says nothing of this package.
    names
        .map(|name| match expression(name) {
            Some(expression) => License::Expression(expression),
            None => License::Named {
                name: name.to_owned(),
                text: None,
            },
        })
        .collect()
}

/// `GPL-2+ or Artistic, and Expat` as an SPDX expression; none if one of its names means nothing
/// there.
fn expression(text: &str) -> Option<String> {
    if text.len() > 1000 {
        return None;
    }
    let text = text.replace(',', " ");
    let mut words = text.split_whitespace().peekable();
    let mut expression = String::new();
    let mut needs_name = true;
    while let Some(word) = words.next() {
        let operator = match word {
            "or" | "OR" | "and/or" => Some(" OR "),
            "and" | "AND" => Some(" AND "),
            "with" | "WITH" => {
                let exception = exception(&words.by_ref().collect::<Vec<_>>())?;
                expression.push_str(" WITH ");
                expression.push_str(exception);
                break;
            }
            _ => None,
        };
        match operator {
            Some(operator) if !needs_name => {
                expression.push_str(operator);
                needs_name = true;
            }
            None if needs_name => {
                expression.push_str(&identifier(word)?);
                needs_name = false;
            }
            _ => return None,
        }
    }
    let is_whole = !needs_name && crate::license::is_expression(&expression);
    is_whole.then_some(expression)
}

fn exception(words: &[&str]) -> Option<&'static str> {
    match words.join(" ").to_ascii_lowercase().as_str() {
        "openssl exception" | "openssl-exception" => Some("openvpn-openssl-exception"),
        "autoconf exception" | "autoconf-exception" => Some("Autoconf-exception-generic"),
        "libtool exception" | "libtool-exception" => Some("Libtool-exception"),
        "bison exception" | "bison-exception" => Some("Bison-exception-2.2"),
        "classpath exception" | "classpath-exception" => Some("Classpath-exception-2.0"),
        "font exception" | "font-exception" => Some("Font-exception-2.0"),
        "gcc exception" | "gcc-exception" => Some("GCC-exception-3.1"),
        _ => None,
    }
    .filter(|it| *it != "openvpn-openssl-exception")
}

/// The SPDX identifier of what Debian calls `name`, where both mean the same.
fn identifier(name: &str) -> Option<String> {
    let gnu = ["AGPL", "GFDL", "LGPL", "GPL"]
        .into_iter()
        .find_map(|it| Some((it, name.strip_prefix(it)?.strip_prefix('-')?)));
    if let Some((family, rest)) = gnu {
        let (version, ending) = match rest.strip_suffix('+') {
            Some(version) => (version, "or-later"),
            None => (rest, "only"),
        };
        let is_number = version.chars().all(|c| c.is_ascii_digit() || c == '.');
        if is_number && !version.is_empty() {
            let version = if version.contains('.') {
                version.to_owned()
            } else {
                format!("{version}.0")
            };
            let id = format!("{family}-{version}-{ending}");
            return crate::license::is_license_id(&id).then_some(id);
        }
    }
    let same = match name {
        "Expat" => "MIT",
        "Apache-2" => "Apache-2.0",
        "Artistic" | "Artistic-1" => "Artistic-1.0-Perl",
        "Artistic-2" => "Artistic-2.0",
        "BSD-2-clause" => "BSD-2-Clause",
        "BSD-3-clause" => "BSD-3-Clause",
        "BSD-4-clause" => "BSD-4-Clause",
        "BSL-1" => "BSL-1.0",
        "CC0" | "CC0-1" => "CC0-1.0",
        "MPL-1" => "MPL-1.0",
        "MPL-2" => "MPL-2.0",
        "Python" | "PSF-2" => "PSF-2.0",
        "Unicode" => "Unicode-DFS-2016",
        "W3C-Software" => "W3C",
        "zlib" | "ZLIB" => "Zlib",
        other => other,
    };
    crate::license::is_license_id(same).then(|| same.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_become_identifiers_where_they_mean_the_same() {
        for (name, id) in [
            ("GPL-2", Some("GPL-2.0-only")),
            ("GPL-2+", Some("GPL-2.0-or-later")),
            ("LGPL-2.1+", Some("LGPL-2.1-or-later")),
            ("GFDL-1.3", Some("GFDL-1.3-only")),
            ("Expat", Some("MIT")),
            ("BSD-3-clause", Some("BSD-3-Clause")),
            (
                "GPL-2+ or Artistic",
                Some("GPL-2.0-or-later OR Artistic-1.0-Perl"),
            ),
            ("GPL-2, and Expat", Some("GPL-2.0-only AND MIT")),
            (
                "GPL-3+ with autoconf exception",
                Some("GPL-3.0-or-later WITH Autoconf-exception-generic"),
            ),
            ("GPL-2+ with OpenSSL exception", None),
            ("public-domain", None),
            ("GPL", None),
            ("GPL-9", None),
            ("GPL-2+ GPL-3", None),
            ("or", None),
            ("Expat or", None),
        ] {
            assert_eq!(expression(name).as_deref(), id, "{name}");
        }
    }

    #[test]
    fn files_name_licences_once() {
        let text = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-2+\n\nFiles: x\nLicense: own\n Do.\n .\n Not.\n\nLicense: own\n\nLicense: GPL-2+\n On Debian see /usr/share/common-licenses/GPL-2.\n";
        let licenses = parse(text);
        assert_eq!(
            licenses,
            [
                License::Expression("GPL-2.0-or-later".to_owned()),
                License::Named {
                    name: "own".to_owned(),
                    text: Some("Do.\n\nNot.".to_owned())
                }
            ]
        );
        let old = "It is under the GPL, see /usr/share/common-licenses/GPL-2.\nLicense: no field here\nAlso `/usr/share/common-licenses/LGPL'.\n";
        assert_eq!(
            parse(old),
            [
                License::Expression("GPL-2.0-only".to_owned()),
                License::Named {
                    name: "LGPL".to_owned(),
                    text: None
                }
            ]
        );
        assert_eq!(parse("nothing"), []);
    }

    #[test]
    fn paths_name_packages() {
        assert_eq!(package("usr/share/doc/libc6/copyright"), Some("libc6"));
        assert_eq!(package("usr/share/doc/libc6/x/copyright"), None);
        assert_eq!(package("usr/share/doc/copyright"), None);
    }
}
