//! Runs jobs side by side.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::{iter, thread};

/// What is to be done.
pub(crate) type Job<'a, T> = Box<dyn FnOnce() -> T + Send + 'a>;

/// Does the jobs in their order, at most `at_once` at a time; gives what each came to, in their order. One that panics takes
/// the caller with it.
pub(crate) fn run<T: Send>(jobs: Vec<Job<'_, T>>, at_once: usize) -> Vec<T> {
    let jobs = Mutex::new(jobs.into_iter().enumerate());
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || iter::from_fn(next).map(|(index, job)| (index, job())).collect::<Vec<_>>();
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let done =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        done.flatten().collect::<Vec<_>>()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, done)| done).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

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
    #[should_panic(expected = "broken")]
    fn a_job_that_panics_is_not_forgotten() {
        run(vec![Box::new(|| -> () { panic!("broken") }) as Job<'_, ()>], 1);
    }
}
