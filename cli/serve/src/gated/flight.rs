//! Who asks what is being asked already waits for that answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use tokio::task::JoinError;

type Flight<V> = Shared<BoxFuture<'static, Result<V, Arc<JoinError>>>>;

/// Questions that are under way, by what is asked.
#[derive(Debug)]
pub(super) struct Flights<K, V: Clone>(Arc<Mutex<BTreeMap<K, Flight<V>>>>);

impl<K, V: Clone> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Ord + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// `work`, or what is under way already. It goes on in a task of its own, whoever stops waiting.
    pub(super) fn join(
        &self,
        key: K,
        work: impl Future<Output = V> + Send + 'static,
    ) -> Flight<V> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key) {
            return flight.clone();
        }
        let landing = Landing {
            flights: Arc::clone(&self.0),
            key: key.clone(),
        };
        let task = tokio::spawn(async move {
            let outcome = work.await;
            drop(landing);
            outcome
        });
        let flight = task.map(|it| it.map_err(Arc::new)).boxed().shared();
        flights.insert(key, flight.clone());
        flight
    }
}

/// Takes a flight off the list when it ends, even by a panic.
struct Landing<K: Ord, V: Clone> {
    flights: Arc<Mutex<BTreeMap<K, Flight<V>>>>,
    key: K,
}

impl<K: Ord, V: Clone> Drop for Landing<K, V> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.remove(&self.key);
    }
}
