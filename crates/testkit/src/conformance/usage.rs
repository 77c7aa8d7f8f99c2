use std::thread;

use callbox_core::{Usage, UsageStore};

/// Checks what everything that counts usage must do; nothing is counted yet.
///
/// # Panics
///
/// Where the store breaks a promise of its port.
pub fn usage_store(store: &dyn UsageStore) {
    let counter = || store.counter().expect("usage can be counted");
    let most = Usage { calls: 3, bytes: 100 };
    let take = |calls, bytes| counter().take(Usage { calls, bytes }, most).expect("usage can be counted");
    assert_eq!(take(2, 0), Some(Usage { calls: 2, bytes: 0 }));
    assert_eq!(take(0, 100), Some(Usage { calls: 2, bytes: 100 }));
    assert_eq!((take(0, 1), take(1, 1), take(2, 0)), (None, None, None), "nothing of it is taken");
    counter().give_back(Usage { calls: 1, bytes: 40 }).expect("usage can be given back");
    assert_eq!(take(2, 40), Some(most));
    thread::scope(|scope| {
        counter().give_back(most).expect("usage can be given back");
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..2).filter(|_| take(1, 0).is_some()).count())).collect();
        let taken: usize = threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum();
        assert_eq!(taken, 3, "as many as there are");
    });
}
