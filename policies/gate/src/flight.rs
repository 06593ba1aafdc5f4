//! Who asks what is being found out already waits for that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use tokio::task::JoinError;

pub(crate) type Flight<V> = Shared<BoxFuture<'static, Result<V, Arc<JoinError>>>>;

type Under<K, V, C> = Arc<Mutex<BTreeMap<K, (Flight<V>, C)>>>;

/// Questions that are being answered, each with what tells how far that is.
#[derive(Debug)]
pub(crate) struct Flights<K, V: Clone, C>(Under<K, V, C>);

impl<K, V, C> Flights<K, V, C>
where
    K: Clone + Ord + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    C: Clone + Default + Send + 'static,
{
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// `work`, or what is under way for this key; and how far it is. It goes on in a task of its own,
    /// so it ends even if nobody waits for it any more.
    pub(crate) fn join(
        &self,
        key: K,
        work: impl FnOnce(C) -> BoxFuture<'static, V>,
    ) -> (Flight<V>, C) {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under_way) = flights.get(&key) {
            return under_way.clone();
        }
        let landing = Landing {
            flights: Arc::clone(&self.0),
            key: key.clone(),
        };
        let progress = C::default();
        let work = work(progress.clone());
        let task = tokio::spawn(async move {
            let outcome = work.await;
            drop(landing);
            outcome
        });
        let flight = task.map(|it| it.map_err(Arc::new)).boxed().shared();
        flights.insert(key, (flight.clone(), progress.clone()));
        (flight, progress)
    }

    #[cfg(test)]
    pub(crate) fn under_way(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Takes a flight off the list when it ends, even by a panic.
struct Landing<K: Ord, V: Clone, C> {
    flights: Under<K, V, C>,
    key: K,
}

impl<K: Ord, V: Clone, C> Drop for Landing<K, V, C> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.remove(&self.key);
    }
}
