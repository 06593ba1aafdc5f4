//! One registry: its tokens, its errors, how often it is asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use net::header::HeaderValue;
use net::{Method, Peer, address};
use tokio::sync::watch;
use tokio::time::Instant;
use url::Url;

use super::challenge::Challenge;
use super::client::Shared;
use super::scheme::Found;
use super::token::{Scopes, Tokens};
use super::token_server::Question;
use crate::auth::{Credential, GOOD_FOR, Secret};
use crate::{Registry, Repository, StoreError};

/// How many of the last authorizations are cut out of what a registry says.
const MAX_SENT: usize = 64;

/// What we know of one registry.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) registry: Registry,
    /// Any certificate, or none, will do.
    pub(super) insecure: bool,
    /// Whether HTTPS is tried first where plain HTTP may be: without a port they are two servers, of which
    /// one may not be there.
    tls_first: bool,
    /// What was last found out about HTTPS. Held while it is found out.
    pub(super) secure: tokio::sync::Mutex<Option<Found>>,
    learnt: Mutex<Learnt>,
    /// Held while a token is asked for, so that no two ask for the same one.
    tokens: tokio::sync::Mutex<Tokens>,
    /// Until when it wants to be left alone.
    throttled: watch::Sender<Option<Instant>>,
    /// Held while credentials are looked up: a helper may ask its user.
    credentials: tokio::sync::Mutex<LookedUp>,
}

#[derive(Debug, Default)]
struct Learnt {
    scheme: Option<&'static str>,
    challenge: Option<Challenge>,
    asks_at_root: Option<bool>,
    without_referrers: BTreeSet<String>,
    sent: VecDeque<Secret>,
}

impl Host {
    /// `plain` is whether it may be asked by plain HTTP, though it is neither insecure nor this machine.
    pub(super) fn new(registry: &Registry, insecure: bool, plain: bool) -> Self {
        let tls_first = plain || !registry.has_port();
        let plain = plain || insecure || registry.is_loopback();
        Self {
            registry: registry.clone(),
            insecure,
            tls_first,
            secure: tokio::sync::Mutex::default(),
            learnt: Mutex::new(Learnt {
                scheme: (!plain).then_some("https"),
                ..Learnt::default()
            }),
            tokens: tokio::sync::Mutex::default(),
            throttled: watch::Sender::new(None),
            credentials: tokio::sync::Mutex::default(),
        }
    }

    /// Until when the registry wants to be left alone, as it says it.
    pub(super) fn throttled(&self) -> watch::Receiver<Option<Instant>> {
        self.throttled.subscribe()
    }

    /// The registry wants to be left alone for so long.
    pub(super) fn leave_alone(&self, asked: Duration) {
        let Some(until) = Instant::now().checked_add(asked) else {
            return;
        };
        self.throttled.send_if_modified(|it| {
            let longer = it.is_none_or(|before| before < until);
            if longer {
                *it = Some(until);
            }
            longer
        });
    }

    /// Waits while the registry wants to be left alone, but not for longer than this.
    pub(super) async fn until_welcome(&self, longest: Duration) {
        let until = *self.throttled.borrow();
        if let Some(until) = until {
            let latest = Instant::now() + longest;
            tokio::time::sleep_until(until.min(latest)).await;
        }
    }

    /// `http` or `https`, once it is known.
    pub(super) fn scheme(&self) -> Option<&'static str> {
        self.learnt().scheme
    }

    /// Whether it is to be found out by HTTPS first.
    pub(super) fn is_tls_first(&self) -> bool {
        self.tls_first && self.scheme().is_none()
    }

    pub(super) fn settle_plain(&self) {
        self.learnt().scheme.get_or_insert("http");
    }

    pub(super) fn settle_https(&self) {
        self.learnt().scheme = Some("https");
    }

    /// Whether the registry has asked for credentials.
    pub(super) fn has_asked(&self) -> bool {
        self.learnt().challenge.is_some()
    }

    pub(super) fn learn_challenge(&self, challenge: Challenge) {
        self.learnt().challenge = Some(challenge);
    }

    /// Whether a repository is known to have no referrers API.
    pub(super) fn lacks_referrers(&self, path: &str) -> bool {
        self.learnt().without_referrers.contains(path)
    }

    pub(super) fn learn_lack_of_referrers(&self, path: &str) {
        self.learnt().without_referrers.insert(path.to_owned());
    }

    pub(super) fn learn_referrers(&self, path: &str) {
        self.learnt().without_referrers.remove(path);
    }

    /// Remembers what was sent, so that it can be cut out of what comes back. Requests run at the
    /// same time, with tokens of their own, so the last one is not enough.
    pub(super) fn note_sent(&self, authorization: &Secret) {
        let mut learnt = self.learnt();
        let sent = &mut learnt.sent;
        sent.retain(|it| it != authorization);
        sent.push_back(authorization.clone());
        if sent.len() > MAX_SENT {
            sent.pop_front();
        }
    }

    /// What is secret in what was sent lately.
    pub(super) fn sent(&self) -> Vec<Secret> {
        self.learnt().sent.iter().flat_map(secrets_in).collect()
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        // Each change is one assignment: a panic elsewhere leaves nothing half done.
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to send along with a request for `repository`; nothing before the registry has asked.
    pub(super) async fn authorization(
        &self,
        shared: &Shared,
        repository: &Repository,
        scopes: &Scopes,
        base: &Url,
    ) -> Result<Option<Secret>, StoreError> {
        let challenge = self.learnt().challenge.clone();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => {
                let credential = self.credential(shared, repository).await?;
                Ok(credential.as_ref().map(authorization_of))
            }
            Some(Challenge::Bearer { realm, service, .. }) => {
                let mut tokens = self.tokens.lock().await;
                if let Some(token) = tokens.covering(scopes, Instant::now()) {
                    return Ok(Some(bearer(&token)));
                }
                let credential = self.credential(shared, repository).await?;
                if let Some(Credential::RegistryToken(token)) = credential {
                    return Ok(Some(bearer(&token)));
                }
                let realm =
                    address::follow(base, &realm, |it| shared.is_insecure(it)).map_err(|problem| {
                        StoreError::Malformed {
                            place: self.registry.to_string(),
                            problem: format!("no token server that may be asked: {problem}"),
                        }
                    });
                let answer = async {
                    let question = Question {
                        repository,
                        scopes,
                        service: service.as_deref(),
                        realm: realm?,
                    };
                    let answer = question.ask(shared, self, credential.as_ref()).await;
                    // A server that fails says nothing of the credential.
                    if let (Err(StoreError::Refused { .. }), Some(refused)) = (&answer, &credential)
                        && let Some(other) =
                            self.another(shared, repository, |it| it == refused).await
                    {
                        return question.ask(shared, self, Some(&other)).await;
                    }
                    answer
                };
                match answer.await {
                    Ok(answer) => {
                        let token = tokens.keep(scopes.clone(), answer, Instant::now());
                        Ok(Some(bearer(&token)))
                    }
                    Err(error) if self.asks_at_root(shared, base).await => Err(error),
                    // It lets in who has no token, so what it said itself is worth more.
                    Err(_) => {
                        self.learnt().challenge = None;
                        Ok(None)
                    }
                }
            }
        }
    }

    /// Whether the registry wants credentials of everyone, so also of who asks for the API itself. Asked
    /// once, and only where a token could not be had.
    async fn asks_at_root(&self, shared: &Shared, base: &Url) -> bool {
        if let Some(known) = self.learnt().asks_at_root {
            return known;
        }
        let lets_in = async {
            let root = base.join("/v2/").ok()?;
            let peer = Peer {
                url: &root,
                insecure: self.insecure || shared.is_insecure(&address::authority(&root)),
                named: true,
            };
            let request = shared.client(peer).ok()?.request(Method::GET, root.clone());
            let exchange = async { Ok(request.send().await?.status()) };
            let status = shared.within_document_timeout(exchange).await.ok()?;
            Some(status.is_success())
        };
        let asks = !lets_in.await.unwrap_or(false);
        self.learnt().asks_at_root = Some(asks);
        asks
    }

    /// Forgets what the registry did not take. What is found in its place may be another credential: those
    /// of clouds are good for hours.
    pub(super) async fn forget(&self, shared: &Shared, authorization: &Secret) {
        if let Some(token) = authorization.reveal().strip_prefix("Bearer ") {
            self.tokens.lock().await.forget(token);
        }
        let mut known = self.credentials.lock().await;
        for credential in known.forget(|it| authorization_of(it) == *authorization) {
            shared.options.credentials.forget(&credential);
        }
    }

    /// The same of a name and password that the registry did not take; whether others are found in their
    /// place.
    pub(super) async fn is_replaced(
        &self,
        shared: &Shared,
        repository: &Repository,
        authorization: &Secret,
    ) -> bool {
        authorization.reveal().starts_with("Basic ")
            && self
                .another(shared, repository, |it| {
                    authorization_of(it) == *authorization
                })
                .await
                .is_some()
    }

    /// What is found in place of a credential that was refused, if that is another one. Where the same was
    /// found lately, nobody is asked again. If there is none now, what the registry says is worth more.
    async fn another(
        &self,
        shared: &Shared,
        repository: &Repository,
        is_refused: impl Fn(&Credential) -> bool,
    ) -> Option<Credential> {
        {
            let mut known = self.credentials.lock().await;
            if known.is_all_there_is(&is_refused, Instant::now()) {
                return None;
            }
            for credential in known.forget(&is_refused) {
                shared.options.credentials.forget(&credential);
            }
        }
        let other = self.credential(shared, repository).await;
        let other = other.unwrap_or_default()?;
        if is_refused(&other) {
            let mut known = self.credentials.lock().await;
            known.all_there_is.push((Instant::now(), other));
            return None;
        }
        Some(other)
    }

    async fn credential(
        &self,
        shared: &Shared,
        repository: &Repository,
    ) -> Result<Option<Credential>, StoreError> {
        let mut known = self.credentials.lock().await;
        if let Some(credential) = known.good(repository.path(), Instant::now()) {
            return Ok(credential.cloned());
        }
        let credential = shared
            .options
            .credentials
            .for_repository(repository)
            .await
            .map_err(|error| StoreError::Unavailable {
                place: self.registry.to_string(),
                action: "look up credentials".to_owned(),
                source: error.into(),
            })?;
        known.keep(repository.path(), credential.clone(), Instant::now());
        Ok(credential)
    }
}

/// The credentials that were looked up, or that there is none, by the path of the repository.
#[derive(Debug, Default)]
struct LookedUp {
    found: BTreeMap<String, (Instant, Option<Credential>)>,
    /// Those that were refused, and found again when others were sought.
    all_there_is: Vec<(Instant, Credential)>,
}

/// A credential, or that there is none.
type Known<'a> = Option<&'a Credential>;

impl LookedUp {
    /// What was found not long ago: those of clouds are good for hours, and who runs for days has to look
    /// again.
    fn good(&self, path: &str, now: Instant) -> Option<Known<'_>> {
        let (since, credential) = self.found.get(path)?;
        (now.duration_since(*since) < GOOD_FOR).then_some(credential.as_ref())
    }

    fn keep(&mut self, path: &str, credential: Option<Credential>, now: Instant) {
        self.found.insert(path.to_owned(), (now, credential));
    }

    /// Forgets those that `is_refused` says.
    fn forget(&mut self, is_refused: impl Fn(&Credential) -> bool) -> Vec<Credential> {
        let refused =
            |credential: &Option<Credential>| credential.as_ref().is_some_and(&is_refused);
        let gone = self.found.extract_if(.., |_, (_, it)| refused(it));
        gone.filter_map(|(_, (_, it))| it).collect()
    }

    /// Whether one that `is_refused` says was found again lately, when another was sought.
    fn is_all_there_is(&mut self, is_refused: impl Fn(&Credential) -> bool, now: Instant) -> bool {
        self.all_there_is
            .retain(|(since, _)| now.duration_since(*since) < GOOD_FOR);
        self.all_there_is.iter().any(|(_, it)| is_refused(it))
    }
}

/// What to send of a credential to a registry that hands out no tokens.
fn authorization_of(credential: &Credential) -> Secret {
    match credential {
        Credential::Basic { username, password }
        | Credential::IdentityTokenOrBasic {
            username, password, ..
        } => basic(username, password),
        Credential::RegistryToken(token) => bearer(token),
        Credential::IdentityToken(token) => basic("<token>", token),
    }
}

pub(super) fn basic(username: &str, password: &Secret) -> Secret {
    let pair = zeroize::Zeroizing::new(format!("{username}:{}", password.reveal()));
    format!("Basic {}", STANDARD.encode(pair.as_bytes())).into()
}

fn bearer(token: &Secret) -> Secret {
    format!("Bearer {}", token.reveal()).into()
}

/// What must not be shown of an authorization: all but its scheme, also decoded.
pub(super) fn secrets_in(authorization: &Secret) -> Vec<Secret> {
    let Some((scheme, text)) = authorization.reveal().split_once(' ') else {
        return Vec::new();
    };
    let mut secrets = vec![text.into()];
    if scheme == "Basic"
        && let Ok(pair) = STANDARD.decode(text)
        && let Ok(pair) = String::from_utf8(pair)
        && let Some((_, password)) = pair.split_once(':')
    {
        secrets.push(password.into());
    }
    secrets
}

/// The header for an authorization; `None` if it cannot stand in one.
pub(super) fn header(authorization: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(authorization.reveal()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_and_what_was_named() {
        let host = |name: &str, insecure, plain| {
            let host = Host::new(&name.parse().unwrap(), insecure, plain);
            (host.scheme(), host.is_tls_first())
        };
        let tls = (Some("https"), false);
        assert_eq!(host("r.example", false, false), tls);
        assert_eq!(host("10.1.2.3:5000", false, false), tls);
        assert_eq!(host("10.1.2.3:5000", false, true), (None, true));
        assert_eq!(host("r.example", true, false), (None, true));
        assert_eq!(host("r.example:5000", true, false), (None, false));
        assert_eq!(host("127.0.0.1:5000", false, false), (None, false));
        assert_eq!(host("[::1]:5000", false, false), (None, false));
        assert_eq!(host("[::1]", false, false), (None, true));
    }

    #[test]
    fn what_was_looked_up_is_looked_up_again_some_day() {
        let (mut known, now) = (LookedUp::default(), Instant::now());
        let mine = || Some(Credential::basic("me", "x"));
        known.keep("mine", mine(), now);
        known.keep("none", None, now);
        let before = now + GOOD_FOR.saturating_sub(Duration::from_secs(1));
        assert_eq!(known.good("mine", before), Some(mine().as_ref()));
        assert_eq!(known.good("none", before), Some(None));
        for path in ["mine", "none"] {
            assert_eq!(known.good(path, now + GOOD_FOR), None);
        }
        known.keep("other", Some(Credential::basic("me", "y")), now);
        assert_eq!(known.forget(|it| Some(it) == mine().as_ref()).len(), 1);
        assert_eq!(known.good("mine", before), None);
        assert!(known.good("other", before).is_some());
    }

    #[test]
    fn what_was_sent_lately_is_remembered() {
        let host = Host::new(&"r.example".parse().unwrap(), false, false);
        let token = |at: usize| Secret::from(format!("token-{at}"));
        for at in [0, 1, 0, 1] {
            host.note_sent(&bearer(&token(at)));
        }
        assert_eq!(host.sent(), [token(0), token(1)]);
        for at in 0..1000 {
            host.note_sent(&bearer(&token(at)));
        }
        assert_eq!(host.sent().len(), MAX_SENT);
        assert!(host.sent().contains(&token(999)));
    }

    #[test]
    fn what_is_secret_is_known_as_such_in_each_form() {
        let secrets = secrets_in(&basic("me", &"hunter2".into()));
        assert_eq!(secrets, ["bWU6aHVudGVyMg==".into(), "hunter2".into()]);
        assert_eq!(secrets_in(&bearer(&"token".into())), ["token".into()]);
        // No log of headers shows it, and no table of HTTP/2 keeps it.
        assert!(header(&bearer(&"token".into())).unwrap().is_sensitive());
        assert_eq!(header(&bearer(&"a\nb".into())), None);
    }
}
