//! Runs jobs side by side.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What is to be done.
pub(crate) type Job<'a, T> = Box<dyn FnOnce() -> T + Send + 'a>;

/// Does the jobs in their order, at most `at_once` at a time; gives what each came to, in their order. One that panics takes
/// the caller with it.
pub(crate) fn run<T: Send>(jobs: Vec<Job<'_, T>>, at_once: usize) -> Vec<T> {
    let jobs: Vec<_> = jobs.into_iter().map(|job| Mutex::new((Some(job), None))).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..at_once.min(jobs.len()) {
            scope.spawn(|| {
                while let Some(entry) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Nobody else locks it before all have ended.
                    if let Ok(mut entry) = entry.lock() {
                        entry.1 = entry.0.take().map(|job| job());
                    }
                }
            });
        }
    });
    jobs.into_iter().filter_map(|entry| entry.into_inner().ok()?.1).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn jobs_run_side_by_side_and_come_back_in_their_order() {
        let (met, running, most) = (Barrier::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        let job = |number: usize| {
            let (met, running, most) = (&met, &running, &most);
            let job = move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                met.wait();
                running.fetch_sub(1, Ordering::SeqCst);
                number
            };
            Box::new(job) as Job<'_, usize>
        };
        assert_eq!(run((0..6).map(job).collect(), 2), [0, 1, 2, 3, 4, 5]);
        assert_eq!(most.load(Ordering::SeqCst), 2);
        assert_eq!(run(Vec::<Job<'_, ()>>::new(), 2), []);
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_job_that_panics_is_not_forgotten() {
        run(vec![Box::new(|| -> () { panic!("broken") }) as Job<'_, ()>], 1);
    }
}
