//! Methods, constructors and their objects.

use std::pin::Pin;
use std::sync::Arc;

use callbox::{ObjectId, record};

use crate::memory_log::check;

#[derive(Debug, Clone)]
struct Cache {
    id: ObjectId,
    pages: Vec<i32>,
}

#[record(id = id)]
impl Cache {
    pub fn new(pages: i32) -> Result<Self, String> {
        if pages < 0 {
            return Err(format!("{pages} pages"));
        }
        Ok(Cache { id: ObjectId::of::<Self>(), pages: vec![0; pages as usize] })
    }

    pub fn append(&mut self, page: i32) -> usize {
        self.pages.push(page);
        self.pages.len()
    }

    #[record(kwargs(place), errors(debug))]
    pub fn page(&self, place: usize) -> Result<i32, ()> {
        self.check(place).then(|| self.pages[place]).ok_or(())
    }

    #[record(skip)]
    pub(crate) fn len(&self) -> usize {
        self.pages.len()
    }

    pub fn empty_page(size: usize) -> Vec<i32> {
        vec![0; size]
    }

    #[record(name = "release")]
    fn hidden(self) -> Vec<i32> {
        self.pages
    }

    fn check(&self, place: usize) -> bool {
        place < self.pages.len()
    }
}

#[test]
fn a_constructor_and_the_methods_of_its_object_share_an_id() {
    check(
        || {
            let mut cache = Cache::new(1).unwrap();
            cache.append(5);
            cache.page(1).unwrap();
            cache.page(9).unwrap_err();
            Cache::empty_page(cache.len());
            cache.hidden()
        },
        &[
            "objects.Cache.__init__ arg_0=<Cache object at ..> arg_1=1 (has id)",
            "-> None",
            "objects.Cache.append arg_0=<Cache object at ..> arg_1=5 (has id)",
            "-> 2",
            "objects.Cache.page arg_0=<Cache object at ..> kwarg_place=1 (has id)",
            "-> 5",
            "objects.Cache.page arg_0=<Cache object at ..> kwarg_place=9 (has id)",
            "error (): ()",
            "objects.Cache.empty_page arg_0=2",
            "-> [0, 0]",
            "objects.Cache.release arg_0=<Cache object at ..> (has id)",
            "-> [0, 5]",
        ],
    );
}

#[test]
fn a_constructor_that_fails_is_recorded_as_failed() {
    check(
        || Cache::new(-1).unwrap_err(),
        &[
            "objects.Cache.__init__ arg_0=<Cache object at ..> arg_1=-1 (has id)",
            "error alloc::string::String: -1 pages",
        ],
    );
}

#[test]
fn objects_keep_their_id_and_clones_get_another() {
    check(
        || {
            let (first, second) = (Cache::new(0).unwrap(), Cache::new(0).unwrap());
            assert_ne!(first.id.get(), second.id.get());
            assert_ne!(first.clone().id.get(), first.id.get());
        },
        &[
            "objects.Cache.__init__ arg_0=<Cache object at ..> arg_1=0 (has id)",
            "-> None",
            "objects.Cache.__init__ arg_0=<Cache object at ..> arg_1=0 (has id)",
            "-> None",
        ],
    );
}

struct Plain<T>(T);

trait Forward {
    type Output;
    fn forward(&self, x: i32) -> Self::Output;
    fn shared(self: Arc<Self>) -> i32;
    fn pinned(self: Pin<&mut Self>, out: &mut i32);
}

#[record(class = "engine.Plain", module = "engine")]
impl Forward for Plain<i32> {
    type Output = i32;

    fn forward(&self, x: i32) -> Self::Output {
        self.0 * x
    }

    fn shared(self: Arc<Self>) -> i32 {
        self.0
    }

    fn pinned(self: Pin<&mut Self>, out: &mut i32) {
        *out = self.0;
    }
}

#[record(constructor(open, close))]
impl<T: callbox::ToValue + Copy> Plain<T> {
    pub fn open(x: T) -> Self {
        Self(x)
    }

    pub fn close(x: T) -> Option<Plain<T>> {
        Some(Plain(x))
    }

    #[record(skip_result)]
    pub fn new(x: T) -> Arc<Self> {
        Arc::new(Self(x))
    }

    pub fn into_inner(self) -> T {
        self.0
    }
}

#[test]
fn objects_without_an_id_are_told_by_their_address() {
    check(
        || {
            let mut plain = Plain::open(2);
            plain.forward(3);
            Pin::new(&mut plain).pinned(&mut 0);
            Plain::close(1).unwrap().into_inner();
            Plain::new(1).shared();
        },
        &[
            "objects.Plain.__init__ arg_0=<Plain object> arg_1=2",
            "-> None",
            "engine.engine.Plain.forward arg_0=<engine.Plain object at ..> arg_1=3",
            "-> 6",
            "engine.engine.Plain.pinned arg_0=<engine.Plain object at ..> arg_1=0",
            "-> None arg_1=2",
            "objects.Plain.__init__ arg_0=<Plain object> arg_1=1",
            "-> None",
            "objects.Plain.into_inner arg_0=<Plain object at ..>",
            "-> 1",
            "objects.Plain.new arg_0=1",
            "-> <not recorded>",
            "engine.engine.Plain.shared arg_0=<engine.Plain object at ..>",
            "-> 1",
        ],
    );
}

struct Lone {
    id: ObjectId,
}

impl Lone {
    #[record(class = "Lone", id = id)]
    fn run(&self) {
        let _ = self;
    }

    #[record(class = "Lone")]
    fn helper(x: u8) -> u8 {
        x
    }
}

#[test]
fn a_method_on_its_own_names_its_class() {
    check(
        || {
            Lone { id: ObjectId::of::<Lone>() }.run();
            Lone::helper(1)
        },
        &[
            "objects.Lone.run arg_0=<Lone object at ..> (has id)",
            "-> None",
            "objects.Lone.helper arg_0=1",
            "-> 1",
        ],
    );
}
