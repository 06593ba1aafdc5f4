//! By which scheme a registry is asked that may be asked by plain HTTP: it has two ports, each with somebody
//! or nobody.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oci::Store as _;
use oci::auth::{Credential, Credentials};
use oci::store::{RegistryOptions, RegistrySilence, RegistryStore};
use testkit::{Asked, Certificates, Proxy, Reply, Scripted, Workspace};

use super::{blob, content, count, quick, store_at, text_of};

/// A registry of two servers, by plain HTTP and by HTTPS.
struct Ports {
    plain: Scripted,
    secure: Scripted,
    proxies: [Proxy; 2],
    _workspace: Workspace,
}

impl Ports {
    /// `None` if no certificates can be made here.
    fn start(
        plain: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
        secure: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Option<Self> {
        let workspace = Workspace::new();
        let certificates = Certificates::make(workspace.path())?;
        let plain = Scripted::start(plain);
        let secure = Scripted::start_tls(&certificates, secure);
        let proxies = [&plain, &secure].map(|it| Proxy::start(&it.host()));
        Some(Self {
            plain,
            secure,
            proxies,
            _workspace: workspace,
        })
    }

    /// Its repository, with a password for the registry.
    fn store(&self, name: &str, mut options: RegistryOptions) -> RegistryStore {
        let [http, https] = [0, 1].map(|it| format!("http://{}", self.proxies[it].host()));
        options.proxies.http = Some(http.into());
        options.proxies.https = Some(https.into());
        options.credentials = Credentials::default().with(name, Credential::basic("me", "hunter2"));
        store_at(name, options)
    }

    fn insecure(&self) -> RegistryStore {
        let options = RegistryOptions {
            insecure: vec!["r.local".to_owned()],
            ..quick()
        };
        self.store("r.local", options)
    }

    /// How often the password came by plain HTTP.
    fn told(&self) -> usize {
        let asked = self.plain.asked();
        let told = asked
            .iter()
            .filter(|it| it.headers.contains_key("authorization"));
        told.count()
    }
}

/// A registry that wants a password.
fn wanting(asked: &Asked) -> Reply {
    if asked.headers.contains_key("authorization") {
        return Reply::new(200).body("");
    }
    let challenge = "WWW-Authenticate: Basic realm=\"r\"";
    Reply::new(401).header(challenge).body("")
}

#[tokio::test]
async fn a_registry_that_fails_on_both_ports_is_not_told_a_password_by_plain_http() {
    for status in [429, 503] {
        // The first answers of each port, and those after them.
        let starting = move |failures: usize| {
            let asks = AtomicUsize::new(0);
            move |asked: &Asked| {
                if asks.fetch_add(1, Ordering::Relaxed) < failures {
                    Reply::new(status).body("")
                } else {
                    wanting(asked)
                }
            }
        };
        let Some(ports) = Ports::start(starting(1), starting(2)) else {
            return;
        };
        let store = ports.insecure();
        for size in 1..4 {
            assert!(store.contains(&blob(&content(size))).await.unwrap());
        }
        assert_eq!(ports.told(), 0, "{status}");
    }
}

fn to_https(asked: &Asked) -> Reply {
    let path = asked.line.split(' ').nth(1).unwrap_or_default();
    let location = format!("Location: https://r.local{path}");
    Reply::new(301).header(location).body("")
}

#[tokio::test]
async fn only_a_registry_is_one_by_https() {
    for status in [302, 403, 404] {
        let other = move |_: &Asked| Reply::new(status).body("");
        let Some(ports) = Ports::start(|_| Reply::new(200).body(""), other) else {
            return;
        };
        let store = ports.insecure();
        for size in 1..4 {
            let found = store.contains(&blob(&content(size))).await;
            assert!(found.unwrap(), "{status}");
        }
        // Asked once, as the other was found then.
        assert_eq!(ports.secure.lines().len(), 1, "{status}");
    }
    for status in [200, 401] {
        let registry = move |asked: &Asked| {
            let is_root = asked.line == "GET /v2/";
            Reply::new(if is_root { status } else { 200 }).body("")
        };
        let Some(ports) = Ports::start(|_| Reply::new(200).body(""), registry) else {
            return;
        };
        assert!(ports.insecure().contains(&blob(&content(1))).await.unwrap());
        assert_eq!(ports.plain.lines(), [""; 0], "{status}");
    }
    // Where there is nobody else, it may be one that does not know of its root.
    let rootless = |asked: &Asked| {
        let is_root = asked.line == "GET /v2/";
        Reply::new(if is_root { 404 } else { 200 }).body("")
    };
    let ports = Ports::start(|_| Reply::none(), rootless).unwrap();
    assert!(ports.insecure().contains(&blob(&content(1))).await.unwrap());
}

#[tokio::test]
async fn a_password_goes_by_https_if_the_registry_sends_us_there() {
    let asks = AtomicUsize::new(0);
    // Until it is up, it breaks off.
    let late = move |asked: &Asked| match asks.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Reply::none(),
        _ => wanting(asked),
    };
    let Some(ports) = Ports::start(to_https, late) else {
        return;
    };
    let store = ports.insecure();
    for size in 1..4 {
        assert!(store.contains(&blob(&content(size))).await.unwrap());
    }
    assert_eq!(ports.plain.lines().len(), 1);
    assert_eq!(ports.told(), 0);
}

#[tokio::test]
async fn a_registry_that_breaks_off_once_is_asked_by_https_again() {
    let asks = AtomicUsize::new(0);
    let shaky = move |asked: &Asked| match asks.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::none(),
        _ => wanting(asked),
    };
    let Some(ports) = Ports::start(wanting, shaky) else {
        return;
    };
    assert!(ports.insecure().contains(&blob(&content(1))).await.unwrap());
    assert_eq!(ports.plain.lines(), [""; 0]);
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_whatever_plain_http_says() {
    let words = "The plain HTTP request was sent to HTTPS port";
    for plain in [Reply::new(400).body(words), Reply::none()] {
        let answer = move |_: &Asked| plain.clone();
        let Some(ports) = Ports::start(answer, |_| Reply::new(200).body("")) else {
            return;
        };
        let options = RegistryOptions {
            plain_in_private: true,
            ..quick()
        };
        let store = ports.store("10.1.2.3:5000", options);
        let error = store.contains(&blob(&content(1))).await.unwrap_err();
        let silence = error.silence();
        let is_about = silence.is_some_and(RegistrySilence::is_about_certificate);
        assert!(is_about, "{}", text_of(&error));
    }
}

#[tokio::test]
async fn https_that_is_late_is_waited_for_once_and_longer_before_a_password_is_sent() {
    let silent = |_: &Asked| {
        std::thread::sleep(Duration::from_secs(5));
        Reply::none()
    };
    let Some(ports) = Ports::start(|_| Reply::new(200).body(""), silent) else {
        return;
    };
    let store = ports.insecure();
    let wanted: Vec<_> = (1..=8).map(|it| blob(&content(it))).collect();
    let all_twice = async {
        for _ in 0..2 {
            let asked = wanted.iter().map(|it| store.contains(it));
            for found in futures_util::future::join_all(asked).await {
                assert!(found.unwrap());
            }
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(6), all_twice);
    in_time.await.unwrap();
    assert_eq!(count(&ports.secure.lines(), "GET /v2/"), 1);

    let asks = AtomicUsize::new(0);
    let slow = move |asked: &Asked| match asks.fetch_add(1, Ordering::Relaxed) {
        0 => silent(asked),
        _ => wanting(asked),
    };
    let ports = Ports::start(wanting, slow).unwrap();
    assert!(ports.insecure().contains(&blob(&content(1))).await.unwrap());
    assert_eq!((ports.told(), ports.plain.lines().len()), (0, 1));

    // What HTTPS never answers goes as upstream sends it.
    let ports = Ports::start(wanting, silent).unwrap();
    let options = RegistryOptions {
        plain_in_private: true,
        document_timeout: Duration::from_secs(4),
        ..quick()
    };
    let store = ports.store("10.1.2.3:5000", options);
    assert!(store.contains(&blob(&content(1))).await.unwrap());
    assert_eq!(ports.told(), 1);
}
