//! From mail addresses to organisations.

/// Providers of mailboxes for everybody: an address there says nothing of an organisation.
const PROVIDERS: [&str; 50] = [
    "126.com",
    "139.com",
    "163.com",
    "aol.com",
    "bluewin.ch",
    "btinternet.com",
    "comcast.net",
    "duck.com",
    "fastmail.com",
    "fastmail.fm",
    "foxmail.com",
    "free.fr",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hey.com",
    "hotmail.com",
    "hotmail.fr",
    "icloud.com",
    "laposte.net",
    "live.com",
    "mac.com",
    "mail.com",
    "mail.ru",
    "mailbox.org",
    "me.com",
    "msn.com",
    "naver.com",
    "orange.fr",
    "outlook.com",
    "pm.me",
    "posteo.de",
    "posteo.net",
    "proton.me",
    "protonmail.ch",
    "protonmail.com",
    "qq.com",
    "riseup.net",
    "sina.com",
    "t-online.de",
    "tutanota.com",
    "web.de",
    "yandex.com",
    "yandex.ru",
    "ymail.com",
    "zoho.com",
];

/// Second-level labels below which countries give names to others.
const SHARED: [&str; 9] = ["ac", "co", "com", "edu", "gov", "ne", "net", "or", "org"];

/// The organisation that a mail address speaks of, as the domain that was registered:
/// `dev@us.example.com` is of `example.com`. `None`: a provider of mailboxes for everybody, a forge's
/// placeholder for a hidden address, or no domain at all.
///
/// Without a list of public suffixes: the last two labels, or three where the last is a country's and
/// the one before it is shared, as in `example.co.uk`.
pub fn organization(mail: &str) -> Option<String> {
    let (_, domain) = mail.rsplit_once('@')?;
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    let labels: Vec<&str> = domain.split('.').collect();
    let is_label = |it: &&str| {
        !it.is_empty()
            && it.len() <= 63
            && it
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || !b.is_ascii())
    };
    if labels.len() < 2 || domain.len() > 253 || !labels.iter().all(is_label) {
        return None;
    }
    if labels.contains(&"noreply") || labels.first() == Some(&"noreply") {
        return None;
    }
    let (last, before) = (labels.last()?, labels.get(labels.len() - 2)?);
    // `local`, `localdomain` and the like are of no registry; an address of numbers is none.
    if last.starts_with("local") || last.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let keep = if last.len() == 2 && SHARED.contains(before) {
        3
    } else {
        2
    };
    let registered = labels
        .get(labels.len().saturating_sub(keep)..)
        .unwrap_or_default()
        .join(".");
    let is_provider = PROVIDERS.contains(&registered.as_str())
        || registered.starts_with("yahoo.")
        || registered.starts_with("hotmail.")
        || registered.starts_with("live.");
    (!is_provider).then_some(registered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_whom_their_domain_is_registered_to() {
        for (mail, expected) in [
            ("a@example.com", Some("example.com")),
            ("a@US.Example.COM.", Some("example.com")),
            ("a@dept.example.co.uk", Some("example.co.uk")),
            ("a@example.de", Some("example.de")),
            ("\"a@b\"@example.org", Some("example.org")),
            ("a@gmail.com", None),
            ("a@yahoo.co.jp", None),
            ("1+a@users.noreply.github.com", None),
            ("root@localhost", None),
            ("root@host.localdomain", None),
            ("a@10.0.0.1", None),
            ("a@..", None),
            ("a@b<c.example", None),
            ("nobody", None),
            ("", None),
        ] {
            assert_eq!(organization(mail).as_deref(), expected, "{mail}");
        }
    }

    #[test]
    fn providers_are_in_order() {
        assert!(PROVIDERS.is_sorted());
    }
}
