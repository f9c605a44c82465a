//! Caches data that a provider publishes: its endpoints and its keys. The data is fetched when it is first needed, and again when
//! it is old. If it can't be fetched again, the old data stays in use for a while. The number of requests is limited.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::OpenIdError;

/// The age from which data is fetched again.
const FRESH: Duration = Duration::from_secs(3600);
/// The age up to which data is used if it can't be fetched again.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// The pause after a failed request.
const PAUSE: Duration = Duration::from_secs(5);

/// One cached value.
#[derive(Debug)]
pub(super) struct Published<T> {
    known: Mutex<Known<T>>,
    /// Held during a request. Other callers wait for its answer.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Known<T> {
    value: Option<(Instant, Arc<T>)>,
    failed: Option<(Instant, OpenIdError)>,
    /// The time of the last request made because a caller asked for newer data.
    newer_requested_at: Option<Instant>,
}

impl<T> Default for Published<T> {
    fn default() -> Self {
        let known = Known { value: None, failed: None, newer_requested_at: None };
        Self { known: Mutex::new(known), asking: tokio::sync::Mutex::new(()) }
    }
}

impl<T> Published<T> {
    /// Returns the present value. Calls `fetch` if there is no value, or an old one.
    pub(super) async fn current(
        &self,
        fetch: impl AsyncFnOnce() -> Result<T, OpenIdError>,
    ) -> Result<Arc<T>, OpenIdError> {
        if let Some(value) = self.younger_than(FRESH) {
            return Ok(value);
        }
        // A caller that finds an old value does not wait for the caller that is fetching.
        let _asking = match (self.asking.try_lock(), self.younger_than(KEPT)) {
            (Ok(asking), _) => asking,
            (Err(_), Some(old)) => return Ok(old),
            (Err(_), None) => self.asking.lock().await,
        };
        if let Some(value) = self.younger_than(FRESH) {
            return Ok(value);
        }
        let paused = self.with(|known| known.failed.clone()).filter(|(at, _)| at.elapsed() < PAUSE);
        let error = match paused {
            Some((_, error)) => error,
            None => match self.ask(fetch).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            },
        };
        self.younger_than(KEPT).ok_or(error)
    }

    /// Returns a newer value than `seen`: the value that another caller has fetched, or a new request's. `None` if the last such
    /// request was less than `spacing` ago.
    pub(super) async fn newer(
        &self,
        seen: &Arc<T>,
        spacing: Duration,
        fetch: impl AsyncFnOnce() -> Result<T, OpenIdError>,
    ) -> Result<Option<Arc<T>>, OpenIdError> {
        let _asking = self.asking.lock().await;
        if let Some(value) = self.younger_than(KEPT).filter(|value| !Arc::ptr_eq(value, seen)) {
            return Ok(Some(value));
        }
        let may = self.with(|known| {
            let may = known.newer_requested_at.is_none_or(|at| at.elapsed() >= spacing);
            known.newer_requested_at = if may { Some(Instant::now()) } else { known.newer_requested_at };
            may
        });
        if may { self.ask(fetch).await.map(Some) } else { Ok(None) }
    }

    async fn ask(&self, fetch: impl AsyncFnOnce() -> Result<T, OpenIdError>) -> Result<Arc<T>, OpenIdError> {
        let fetched = fetch().await.map(Arc::new);
        self.with(|known| match &fetched {
            Ok(value) => (known.value, known.failed) = (Some((Instant::now(), Arc::clone(value))), None),
            Err(error) => known.failed = Some((Instant::now(), error.clone())),
        });
        fetched
    }

    fn younger_than(&self, age: Duration) -> Option<Arc<T>> {
        self.with(|known| {
            let (at, value) = known.value.as_ref()?;
            (at.elapsed() < age).then(|| Arc::clone(value))
        })
    }

    fn with<R>(&self, look: impl FnOnce(&mut Known<T>) -> R) -> R {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A source that counts its requests and answers with the count.
    #[derive(Default)]
    struct Source {
        asked: AtomicU32,
        down: std::sync::atomic::AtomicBool,
    }

    impl Source {
        async fn fetch(&self) -> Result<u32, OpenIdError> {
            let n = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
            if self.down.load(Ordering::SeqCst) { Err(OpenIdError::Away("down".into())) } else { Ok(n) }
        }
        fn asked(&self) -> u32 {
            self.asked.load(Ordering::SeqCst)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_concurrent_callers_cause_one_fetch() {
        let (source, published) = (Source::default(), Published::default());
        let all = (0..100).map(|_| published.current(async || source.fetch().await));
        let all = futures_util::future::join_all(all).await;
        assert!(all.into_iter().all(|value| *value.unwrap() == 1));
        tokio::time::advance(FRESH).await;
        assert_eq!(*published.current(async || source.fetch().await).await.unwrap(), 2);
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn data_that_cannot_be_fetched_again_is_used_for_a_day() {
        let (source, published) = (Source::default(), Published::default());
        published.current(async || source.fetch().await).await.unwrap();
        source.down.store(true, Ordering::SeqCst);
        tokio::time::advance(KEPT - Duration::from_secs(60)).await;
        for _ in 0..100 {
            assert_eq!(*published.current(async || source.fetch().await).await.unwrap(), 1);
        }
        assert_eq!(source.asked(), 2, "one attempt, then a pause");
        tokio::time::advance(Duration::from_secs(60)).await;
        published.current(async || source.fetch().await).await.unwrap_err();
        source.down.store(false, Ordering::SeqCst);
        tokio::time::advance(PAUSE).await;
        published.current(async || source.fetch().await).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn callers_who_need_newer_data_cause_one_fetch_per_interval() {
        let (source, published) = (Source::default(), Published::default());
        let spacing = Duration::from_secs(30);
        let mut seen = published.current(async || source.fetch().await).await.unwrap();
        for second in 0..90 {
            for _ in 0..100 {
                if let Some(newer) =
                    published.newer(&seen, spacing, async || source.fetch().await).await.unwrap()
                {
                    seen = newer;
                }
            }
            assert_eq!(source.asked(), 2 + second / 30, "at {second} s");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }
}
