//! Runs the writer, threads that log, and the end of the process in many orders.
//!
//! A thread that waits for something that never comes fails the test, and the message has the order to repeat.

use std::sync::Arc;
use std::time::Duration;

use shuttle::sync::Mutex;
use shuttle::thread;

use super::{BATCH_BYTES, Queue};

/// Number of orders that each test tries.
const ORDERS: usize = 5000;

fn check(scenario: fn()) {
    shuttle::check_random(scenario, ORDERS);
    // Orders with few switches between threads, at the places that matter.
    shuttle::check_pct(scenario, ORDERS, 3);
}

/// Starts a writer. Returns what it has written so far.
fn written(queue: &Arc<Queue>) -> Arc<Mutex<Vec<u8>>> {
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let (writing, to) = (Arc::clone(queue), Arc::clone(&written));
    thread::spawn(move || {
        writing.write_all_lines(|bytes| {
            to.lock().expect("no thread panics").extend_from_slice(bytes);
            bytes.len()
        });
    });
    written
}

#[test]
fn every_line_is_written_once_and_the_end_waits_for_it() {
    check(|| {
        let queue = Arc::<Queue>::default();
        let written = written(&queue);
        let threads: Vec<_> = (b'a'..=b'c')
            .map(|name| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || (b'1'..=b'2').for_each(|number| queue.push(&[name, number, b'\n'])))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        queue.finish(Duration::MAX);
        let written = written.lock().unwrap();
        let mut lines: Vec<_> = written.split_inclusive(|byte| *byte == b'\n').collect();
        // The lines of one thread stay in their order.
        lines.sort_by_key(|line| line[0]);
        assert_eq!(lines.concat(), b"a1\na2\nb1\nb2\nc1\nc2\n");
    });
}

#[test]
fn a_flush_ends_and_finds_what_was_logged_before_it() {
    check(|| {
        let queue = Arc::<Queue>::default();
        let written = written(&queue);
        let other = Arc::clone(&queue);
        let other = thread::spawn(move || {
            other.push(b"b\n");
            other.push(&vec![b'b'; BATCH_BYTES]);
        });
        queue.push(b"a\n");
        queue.flush(Duration::MAX);
        assert!(written.lock().unwrap().contains(&b'a'));
        other.join().unwrap();
        queue.finish(Duration::MAX);
    });
}
