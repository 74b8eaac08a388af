//! One watcher's stream of a list: what changed since the last response, merged, at a pace the reader keeps. Vehicles and alerts
//! are followed alike.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::limits;
use crate::metrics::ConsoleMetrics;
use crate::mirror::Mark;
use crate::refusal::Refusal;
use crate::seats::Seat;
use crate::time::now_ms;
use crate::watch::stopped;

pub(crate) type Sender<R> = mpsc::Sender<Result<R, Status>>;

/// One line of a list.
pub(crate) struct Line<'a, I> {
    /// The change that brought it.
    pub change: u64,
    /// Its number in the list, the same as long as it is there.
    pub number: u32,
    pub item: &'a Arc<I>,
}

/// Where a list is.
pub(crate) struct Point {
    pub mark: Mark,
    /// Lines that changed up to here may have left the list without a word.
    pub dropped_to: u64,
}

/// A part of a response's changes, as large as one message.
pub(crate) struct Part<'a, I> {
    /// New and changed ones, each with its number.
    pub items: &'a [(u32, Arc<I>)],
    /// Names of those that match no more.
    pub removed: Vec<String>,
    /// Where to resume; empty before the last part.
    pub resume_token: String,
    /// It is part of the full state.
    pub full: bool,
    /// The reader was slower than the list.
    pub lagged: bool,
    pub now_ms: i64,
}

/// A list, and what a watcher wants of it.
pub(crate) trait Followed: Send + Sync + 'static {
    type Item: Send + Sync + 'static;
    type Response: Send + 'static;

    /// Tells of changes.
    fn changed(&self) -> watch::Receiver<u64>;

    fn point(&self) -> Point;

    /// Visits every line; answers where the list was.
    fn visit(&self, each: impl FnMut(Line<'_, Self::Item>) + Send) -> Point;

    /// Whether everything matches.
    fn is_all(&self) -> bool;

    /// Whether what matches changes by time alone.
    fn depends_on_time(&self) -> bool;

    fn matches(&self, item: &Self::Item, now_ms: i64) -> bool;

    fn name(&self, item: &Self::Item) -> String;

    /// Something is about to be sent, in one or more parts.
    fn sending(&mut self, _items: usize, _lagged: bool) {}

    fn response(&mut self, part: Part<'_, Self::Item>) -> Self::Response;
}

/// How a list is followed.
pub(crate) struct Follow<F> {
    pub what: F,
    /// Least time between two looks at the list.
    pub interval: Duration,
    /// Lines in one message.
    pub lines_max: usize,
    pub since: Option<Mark>,
    pub stopping: watch::Receiver<bool>,
}

/// The reader has gone.
struct Gone;

enum Wake {
    Look,
    Gone,
    Stop,
}

/// Between two responses.
struct Progress {
    /// Numbers of those that the reader was told match; only with a filter.
    members: HashSet<u32>,
    /// Everything up to here was sent.
    sent: u64,
    /// The next response is (part of) the full state.
    full: bool,
    /// The next response goes on where another stream ended: whom the reader knows is not known here.
    resumes: bool,
}

impl Progress {
    fn new(since: Option<Mark>) -> Self {
        Self {
            members: HashSet::new(),
            sent: since.map_or(0, |mark| mark.change),
            full: since.is_none(),
            resumes: since.is_some(),
        }
    }
}

/// Changes gathered for a response.
struct Gathered<I> {
    items: Vec<(u32, Arc<I>)>,
    removed: Vec<Arc<I>>,
    mark: Mark,
}

impl<F: Followed> Follow<F> {
    /// Sends until the reader goes or the node stops.
    pub async fn run(mut self, to: Sender<F::Response>) {
        let now = self.what.point().mark;
        let since = self.since.filter(|since| since.instance == now.instance && since.change <= now.change);
        // Those that came to match by time alone left no change behind to resume from.
        let mut progress = Progress::new(since.filter(|_| !self.what.depends_on_time()));
        let mut changed = self.what.changed();
        // When something was sent, and when it was looked whether there is something.
        let mut last: Option<Instant> = None;
        let mut looked = Instant::now();
        loop {
            if let Some(last) = last {
                match self.wait(&mut changed, looked, last, &to).await {
                    Wake::Look => {}
                    Wake::Gone => return,
                    Wake::Stop => {
                        let _ = to.send(Err(Refusal::Stopping.into())).await;
                        return;
                    }
                }
            }
            let lagged = to.capacity() == 0;
            // A place first, then the state: what a slow reader gets is new when it gets it.
            let Ok(place) = to.reserve().await else { return };
            drop(place);
            changed.mark_unchanged();
            let gathered = self.gather(&mut progress);
            looked = Instant::now();
            let quiet = gathered.items.is_empty() && gathered.removed.is_empty() && !progress.full;
            if quiet && last.is_some_and(|last| looked - last < limits::WATCH_HEARTBEAT) {
                continue;
            }
            last = Some(looked);
            if self.send(&mut progress, gathered, lagged, &to).await.is_err() {
                return;
            }
        }
    }

    /// Until there may be something to send, and the interval has passed since the last look.
    async fn wait(
        &mut self,
        changed: &mut watch::Receiver<u64>,
        looked: Instant,
        last: Instant,
        to: &Sender<F::Response>,
    ) -> Wake {
        let heartbeat = last + limits::WATCH_HEARTBEAT;
        let until = match self.what.depends_on_time() {
            true => heartbeat.min(looked + limits::WATCH_TIME_STEP),
            false => heartbeat,
        };
        let something = async {
            tokio::select! {
                _ = changed.changed() => {}
                () = sleep_until(until) => {}
            }
            sleep_until(looked + self.interval).await;
        };
        tokio::select! {
            () = something => Wake::Look,
            () = to.closed() => Wake::Gone,
            () = stopped(&mut self.stopping) => Wake::Stop,
        }
    }

    fn gather(&self, progress: &mut Progress) -> Gathered<F::Item> {
        loop {
            match self.look(progress) {
                Some(gathered) => return gathered,
                // Some left the list whose end the reader was not told: it gets everything.
                None => *progress = Progress::new(None),
            }
        }
    }

    /// None when what changed since cannot be told any more; never of the full state.
    fn look(&self, progress: &mut Progress) -> Option<Gathered<F::Item>> {
        let now_ms = now_ms();
        let (mut items, mut removed) = (Vec::new(), Vec::new());
        let (sent, full, resumes) = (progress.sent, progress.full, progress.resumes);
        let (is_all, by_time) = (self.what.is_all(), self.what.depends_on_time());
        let members = &mut progress.members;
        let mut there = 0;
        let Point { mark, dropped_to } = self.what.visit(|Line { change, number, item }| {
            there += 1;
            let new = full || change > sent;
            if is_all {
                if new {
                    items.push((number, Arc::clone(item)));
                }
                return;
            }
            // What did not change still matches, or not, unless time decides.
            if !new && !resumes && !by_time {
                return;
            }
            if self.what.matches(item, now_ms) {
                let joined = members.insert(number);
                if new || (joined && !resumes) {
                    items.push((number, Arc::clone(item)));
                }
            } else if members.remove(&number) || (new && resumes) {
                removed.push(Arc::clone(item));
            }
        });
        if !full && dropped_to > sent {
            return None;
        }
        // Those that left the list by their age are never removed one by one.
        if members.len() > 2 * there + limits::PAGE_MAX {
            let mut numbers = HashSet::new();
            self.what.visit(|line| {
                numbers.insert(line.number);
            });
            members.retain(|number| numbers.contains(number));
        }
        progress.sent = mark.change;
        Some(Gathered { items, removed, mark })
    }

    async fn send(
        &mut self,
        progress: &mut Progress,
        gathered: Gathered<F::Item>,
        lagged: bool,
        to: &Sender<F::Response>,
    ) -> Result<(), Gone> {
        let Gathered { items, removed, mark } = gathered;
        self.what.sending(items.len(), lagged);
        // Where time decides, no token is gone on from: it need not say how much changed, also of what its reader does not see.
        let mark = if self.what.depends_on_time() { Mark { change: 0, ..mark } } else { mark };
        let now_ms = now_ms();
        let parts = items.len().div_ceil(self.lines_max).max(1);
        let mut removed = removed.iter().map(|item| self.what.name(item)).collect();
        for part in 0..parts {
            let from = part * self.lines_max;
            let response = self.what.response(Part {
                items: &items[from..items.len().min(from + self.lines_max)],
                removed: std::mem::take(&mut removed),
                resume_token: if part + 1 == parts { mark.to_token() } else { String::new() },
                full: progress.full,
                lagged,
                now_ms,
            });
            to.send(Ok(response)).await.map_err(|_| Gone)?;
        }
        progress.full = false;
        progress.resumes = false;
        Ok(())
    }
}

pub(crate) type Responses<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

/// A stream that gives its seat back and counts itself when it ends.
pub(crate) fn counted<R: Send + 'static>(
    metrics: &ConsoleMetrics,
    from: mpsc::Receiver<Result<R, Status>>,
    seat: Seat,
    method: &'static str,
) -> Responses<R> {
    metrics.watchers().inc();
    let mut end = StreamEnd { metrics: metrics.clone(), method, code: Code::Cancelled, _seat: seat };
    Box::pin(ReceiverStream::new(from).map(move |item| {
        // All of it moves in here, to be dropped with the stream; naming a field alone would move only that.
        let end: &mut StreamEnd = &mut end;
        if let Err(status) = &item {
            end.code = status.code();
        }
        item
    }))
}

struct StreamEnd {
    metrics: ConsoleMetrics,
    method: &'static str,
    code: Code,
    _seat: Seat,
}

impl Drop for StreamEnd {
    fn drop(&mut self) {
        self.metrics.watchers().dec();
        self.metrics.finished(self.method, self.code);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use parking_lot::Mutex;

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(250);
    const STEP: Duration = Duration::from_millis(10);

    /// A list of numbers.
    struct List {
        /// By what they are called: the change that brought them, and what they are.
        lines: Mutex<BTreeMap<u32, (u64, Arc<i64>)>>,
        dropped_to: Mutex<u64>,
        changed: watch::Sender<u64>,
        looks: AtomicUsize,
    }

    impl List {
        fn new() -> Arc<Self> {
            let (lines, dropped_to) = (Mutex::default(), Mutex::default());
            Arc::new(Self { lines, dropped_to, changed: watch::Sender::new(0), looks: AtomicUsize::new(0) })
        }

        fn put(&self, number: u32, item: i64) {
            let change = *self.changed.borrow() + 1;
            self.lines.lock().insert(number, (change, Arc::new(item)));
            self.changed.send_replace(change);
        }

        fn drop_line(&self, number: u32) {
            let dropped = self.lines.lock().remove(&number).expect("it is there");
            *self.dropped_to.lock() = dropped.0;
        }
    }

    /// Those above 9; whether time decides as well.
    struct Large(Arc<List>, bool);

    /// Changes, removed, token, full.
    type Told = (Vec<i64>, Vec<String>, String, bool);

    impl Followed for Large {
        type Item = i64;
        type Response = Told;

        fn changed(&self) -> watch::Receiver<u64> {
            self.0.changed.subscribe()
        }

        fn point(&self) -> Point {
            let mark = Mark { instance: 1, change: *self.0.changed.borrow() };
            Point { mark, dropped_to: *self.0.dropped_to.lock() }
        }

        fn visit(&self, mut each: impl FnMut(Line<'_, i64>) + Send) -> Point {
            self.0.looks.fetch_add(1, Relaxed);
            for (number, (change, item)) in &*self.0.lines.lock() {
                each(Line { change: *change, number: *number, item });
            }
            self.point()
        }

        fn is_all(&self) -> bool {
            false
        }

        fn depends_on_time(&self) -> bool {
            self.1
        }

        fn matches(&self, item: &i64, _: i64) -> bool {
            *item > 9
        }

        fn name(&self, item: &i64) -> String {
            item.to_string()
        }

        fn response(&mut self, part: Part<'_, i64>) -> Told {
            let items = part.items.iter().map(|(_, item)| **item).collect();
            (items, part.removed, part.resume_token, part.full)
        }
    }

    struct Reader {
        from: mpsc::Receiver<Result<Told, Status>>,
        _stop: watch::Sender<bool>,
    }

    impl Reader {
        fn start(list: &Arc<List>, token: &str) -> Self {
            Self::start_with(list, token, false)
        }

        fn start_with(list: &Arc<List>, token: &str, by_time: bool) -> Self {
            let (stop, stopping) = watch::channel(false);
            let (to, from) = mpsc::channel(limits::WATCH_AHEAD_MAX);
            let since = Mark::from_token(token);
            let what = Large(Arc::clone(list), by_time);
            tokio::spawn(Follow { what, interval: INTERVAL, lines_max: 2, since, stopping }.run(to));
            Self { from, _stop: stop }
        }

        async fn next(&mut self) -> Told {
            self.from.recv().await.expect("it goes on").expect("no error")
        }
    }

    fn told(items: &[i64], removed: &[&str], change: Option<u64>, full: bool) -> Told {
        let token = change.map_or_else(String::new, |change| Mark { instance: 1, change }.to_token());
        (items.to_vec(), removed.iter().map(|name| (*name).to_owned()).collect(), token, full)
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_told_in_parts_and_those_that_match_no_more() {
        let list = List::new();
        (0..5).for_each(|number| list.put(number, 8 + i64::from(number)));
        let mut reader = Reader::start(&list, "");
        assert_eq!(reader.next().await, told(&[10, 11], &[], None, true));
        assert_eq!(reader.next().await, told(&[12], &[], Some(5), true));
        list.put(0, 20);
        list.put(4, 1);
        list.put(1, 2);
        assert_eq!(reader.next().await, told(&[20], &["1"], Some(8), false), "2 never matched");
        // One that goes on from there is told what changed since, and of all that may have matched.
        list.put(2, 3);
        assert_eq!(reader.next().await, told(&[], &["3"], Some(9), false));
        let mut second = Reader::start(&list, &Mark { instance: 1, change: 8 }.to_token());
        assert_eq!(second.next().await, told(&[], &["3"], Some(9), false));
        let mut stranger = Reader::start(&list, &Mark { instance: 2, change: 8 }.to_token());
        assert_eq!(stranger.next().await, told(&[20, 11], &[], Some(9), true));
    }

    #[tokio::test(start_paused = true)]
    async fn where_time_decides_a_token_says_nothing_and_leads_to_everything() {
        let list = List::new();
        list.put(0, 10);
        let mut reader = Reader::start_with(&list, "", true);
        assert_eq!(reader.next().await, told(&[10], &[], Some(0), true));
        list.put(1, 5);
        list.put(0, 11);
        assert_eq!(reader.next().await, told(&[11], &[], Some(0), false));
        let mut second = Reader::start_with(&list, &Mark { instance: 1, change: 0 }.to_token(), true);
        assert_eq!(second.next().await, told(&[11], &[], Some(0), true));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_left_the_list_untold_leads_to_the_full_state_also_when_nothing_is_left() {
        let list = List::new();
        list.put(0, 10);
        let mut reader = Reader::start(&list, "");
        assert_eq!(reader.next().await, told(&[10], &[], Some(1), true));
        list.put(0, 11);
        list.drop_line(0);
        assert_eq!(reader.next().await, told(&[], &[], Some(2), true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_looked_at_once_an_interval_however_quiet_its_watcher_is() {
        let list = List::new();
        let mut reader = Reader::start(&list, "");
        reader.next().await;
        let begun = Instant::now();
        let before = list.looks.load(Relaxed);
        // After it was quiet for long.
        tokio::time::sleep(10 * INTERVAL).await;
        while begun.elapsed() < 40 * INTERVAL {
            list.put(0, 1);
            tokio::time::sleep(STEP).await;
        }
        let looks = list.looks.load(Relaxed) - before;
        assert!((29..=32).contains(&looks), "{looks} looks in 30 intervals");
        // And what matches is told within one.
        let begun = Instant::now();
        list.put(0, 10);
        assert_eq!(reader.next().await.0, [10]);
        assert!(begun.elapsed() <= INTERVAL, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_hears_something_every_heartbeat_also_when_others_change() {
        let list = List::new();
        let mut reader = Reader::start(&list, "");
        reader.next().await;
        for _ in 0..3 {
            let last = Instant::now();
            tokio::time::sleep(limits::WATCH_HEARTBEAT - 2 * INTERVAL).await;
            list.put(0, 1);
            assert_eq!(reader.next().await.0, [0; 0]);
            let after = last.elapsed();
            assert!(after <= limits::WATCH_HEARTBEAT + STEP, "{after:?}");
        }
    }
}
