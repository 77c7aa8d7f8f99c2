//! Identity of recorded objects.

use std::any::type_name;
use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells an object from all others of its process, wherever it moves: a field of a class whose constructor and
/// methods are recorded.
///
/// Rust's objects move, so their address does not name them. The recorder chooses the id before the constructor
/// runs, since the constructor's inputs are on disk by then; [`ObjectId::of`] inside the constructor picks it
/// up. A clone is another object, whose constructor was not recorded.
///
/// ```
/// use callbox_values::ObjectId;
///
/// struct Cache {
///     id: ObjectId,
/// }
///
/// let cache = ObjectId::construct::<Cache, _>(7, || Cache { id: ObjectId::of::<Cache>() });
/// assert_eq!(cache.id.get(), 7);
/// assert_ne!(cache.id.clone().get(), 7);
/// ```
#[derive(PartialEq, Eq, Hash)]
pub struct ObjectId(u64);

static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// Ids chosen for the constructors that run on this thread and have not been picked up.
    static CHOSEN: RefCell<Vec<(&'static str, u64)>> = const { RefCell::new(Vec::new()) };
}

impl ObjectId {
    /// Returns the id that was chosen for the constructor of `T` that runs on this thread, or a fresh one.
    pub fn of<T: ?Sized>() -> ObjectId {
        // While a thread ends there is no list any more: then nothing was chosen.
        let chosen = CHOSEN.try_with(|chosen| {
            let mut chosen = chosen.borrow_mut();
            let (class, id) = *chosen.last()?;
            (class == type_name::<T>()).then(|| {
                chosen.pop();
                id
            })
        });
        let chosen = chosen.ok().flatten();
        ObjectId(chosen.unwrap_or_else(ObjectId::next))
    }

    /// Returns a number that no object of this process has.
    pub fn next() -> u64 {
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs the constructor of `T` with the id that its object is to have.
    pub fn construct<T: ?Sized, R>(id: u64, constructor: impl FnOnce() -> R) -> R {
        /// Also when the constructor panics, or never makes an object.
        struct Restore(usize);
        impl Drop for Restore {
            fn drop(&mut self) {
                CHOSEN.try_with(|chosen| chosen.borrow_mut().truncate(self.0)).ok();
            }
        }

        let depth = CHOSEN.try_with(|chosen| {
            let mut chosen = chosen.borrow_mut();
            chosen.push((type_name::<T>(), id));
            chosen.len() - 1
        });
        let _restore = depth.ok().map(Restore);
        constructor()
    }

    /// Returns the number.
    pub fn get(&self) -> u64 {
        self.0
    }
}

/// Gives another object another id.
impl Clone for ObjectId {
    fn clone(&self) -> ObjectId {
        ObjectId(ObjectId::next())
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    struct Outer;
    struct Inner;

    #[test]
    fn an_object_made_inside_another_s_constructor_does_not_take_its_id() {
        let (outer, inner) = (ObjectId::next(), ObjectId::next());
        let (first, second, third) = ObjectId::construct::<Outer, _>(outer, || {
            let plain = ObjectId::of::<Inner>();
            let recorded = ObjectId::construct::<Inner, _>(inner, ObjectId::of::<Inner>);
            (plain, recorded, ObjectId::of::<Outer>())
        });
        assert!(first.get() != outer && first.get() != inner);
        assert_eq!((second.get(), third.get()), (inner, outer));
    }

    #[test]
    fn a_constructor_that_panics_leaves_no_id_behind() {
        let id = ObjectId::next();
        catch_unwind(|| ObjectId::construct::<Outer, _>(id, || panic!("no object"))).unwrap_err();
        assert_ne!(ObjectId::of::<Outer>().get(), id);
    }
}
