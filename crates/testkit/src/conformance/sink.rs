use std::collections::BTreeSet;
use std::thread;

use callbox_core::{
    CallRecord, DType, DumpSink, DumpSlot, ExecutionStatus, FileHash, FilePlan, Group, Layout, Line,
    RecordedFile, SinkError, SlotName, TensorBuf, TensorGroup, TensorView, WrittenFile,
};

use crate::device::{DeviceContents, FakeDeviceMemory};
use crate::sample;

/// Threads that write at the same time.
const THREADS: u64 = 16;
/// Places or lines of each.
const EACH: u64 = 8;

/// Tells what is visible at a place, by its location; `None` where nothing of it is left.
pub type ContentsOf = dyn Fn(&str) -> Option<Contents>;

/// A fresh sink of 32-bit floats, and a look behind it.
pub struct SinkCase {
    /// The sink.
    pub sink: Box<dyn DumpSink>,
    /// Looks at a place.
    pub contents: Box<ContentsOf>,
    /// Returns the `call_sequence` of each whole line of the session, in order.
    pub session: Box<dyn Fn() -> Vec<u64>>,
}

/// What is visible at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The groups that have a file.
    pub groups: BTreeSet<Group>,
    /// The status of each line, in order.
    pub statuses: Vec<ExecutionStatus>,
}

/// Shows the sink.
impl std::fmt::Debug for SinkCase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SinkCase").field("sink", &self.sink).finish_non_exhaustive()
    }
}

/// Checks what every sink of dumps must do; `make` gives a fresh one each time.
///
/// # Panics
///
/// Where the sink breaks a promise of its port.
pub fn dump_sink(make: &dyn Fn() -> SinkCase) {
    places_are_fresh_and_never_shared(&make());
    a_file_is_there_as_planned_or_not_at_all(&make());
    lines_stand_in_the_order_in_which_they_were_appended(&make());
    what_is_discarded_is_gone(&make());
    a_flush_has_a_place_of_its_own_and_its_files_become_the_call_s(&make());
    lines_of_many_threads_stay_whole(&make());
}

fn record(number: u64, status: ExecutionStatus) -> CallRecord {
    CallRecord { call_sequence: number, status, ..sample::record("module", "function") }
}

fn line(sink: &dyn DumpSink, number: u64, status: ExecutionStatus) -> Line {
    sink.encode(&record(number, status)).expect("a record can be spelled")
}

fn open(sink: &dyn DumpSink) -> Box<dyn DumpSlot> {
    let name = SlotName {
        timestamp: "20260101_000000_000".to_owned(),
        process_id: 1,
        function: "function".to_owned(),
        call_sequence: 1,
    };
    sink.open(&name).expect("a place can be opened")
}

fn places_are_fresh_and_never_shared(case: &SinkCase) {
    let sink = &*case.sink;
    let open_some = || (0..EACH).map(|_| open(sink).location().to_owned()).collect::<Vec<_>>();
    let locations: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(open_some)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("opening does not panic")).collect()
    });
    let unique: BTreeSet<_> = locations.iter().collect();
    assert_eq!(unique.len() as u64, THREADS * EACH, "no two calls share a place, whatever they are called");
    for location in &locations {
        assert_eq!((case.contents)(location), Some(Contents::default()), "{location} is empty");
    }
}

fn a_file_is_there_as_planned_or_not_at_all(case: &SinkCase) {
    let sink = &*case.sink;
    let mut place = open(sink);
    let location = place.location().to_owned();
    let tensor = TensorBuf::from_f32(DType::Float32, &[4], &[1.0; 4]).expect("four values for four elements");
    let group = TensorGroup { stem: Group::Inputs.stem(), tensors: vec![("arg_0", tensor.as_view())] };
    let plan = sink.plan(&group).expect("floats can be kept");

    for bytes in [plan.bytes - 1, plan.bytes + 1] {
        let answer = place.put(Group::Inputs, &group, &FilePlan { bytes, ..plan.clone() });
        assert!(answer.is_err(), "{bytes} bytes were planned, {} came: {answer:?}", plan.bytes);
    }
    let answer = put_from_a_lost_device(&mut *place, &plan);
    assert!(answer.is_err(), "the device was lost: {answer:?}");
    assert_eq!((case.contents)(&location), Some(Contents::default()), "nothing is visible of what failed");

    for group_of in [Group::Inputs, Group::Outputs, Group::ArgsAfter] {
        let group = TensorGroup { stem: group_of.stem(), ..group.clone() };
        let plan = sink.plan(&group).expect("floats can be kept");
        let written = place.put(group_of, &group, &plan).expect("the file can be written");
        assert_eq!(written.bytes, plan.bytes, "the plan is exact");
        let digits =
            |hash: &Option<FileHash>| hash.as_ref().map(|hash| (hash.kind.clone(), hash.digits.len()));
        assert_eq!(digits(&written.hash), digits(&plan.hash), "a hash is as long as was planned");
    }
    let groups = BTreeSet::from([Group::Inputs, Group::Outputs, Group::ArgsAfter]);
    assert_eq!((case.contents)(&location), Some(Contents { groups, statuses: Vec::new() }));
}

/// Writes a tensor of the planned size, whose elements cannot be read.
fn put_from_a_lost_device(place: &mut dyn DumpSlot, plan: &FilePlan) -> Result<WrittenFile, SinkError> {
    let device = FakeDeviceMemory::new(16, DeviceContents::Lost);
    let view = TensorView {
        dtype: DType::Float32,
        ..device.view(Layout::contiguous(&[4]).expect("a small layout"))
    };
    let group = TensorGroup { stem: Group::Inputs.stem(), tensors: vec![("arg_0", view)] };
    place.put(Group::Inputs, &group, plan)
}

fn lines_stand_in_the_order_in_which_they_were_appended(case: &SinkCase) {
    let sink = &*case.sink;
    let mut place = open(sink);
    let statuses = [ExecutionStatus::InputsSaved, ExecutionStatus::Failed, ExecutionStatus::Completed];
    for status in &statuses {
        let line = line(sink, 1, status.clone());
        assert_eq!(place.append(&line).expect("a line can be appended"), line.byte_len());
    }
    let contents = (case.contents)(place.location()).expect("the place is there");
    assert_eq!(contents, Contents { groups: BTreeSet::new(), statuses: statuses.into() });
}

fn what_is_discarded_is_gone(case: &SinkCase) {
    let sink = &*case.sink;
    let (mut given_up, kept) = (open(sink), open(sink));
    let location = given_up.location().to_owned();
    let group = TensorGroup { stem: Group::Inputs.stem(), tensors: Vec::new() };
    let plan = sink.plan(&group).expect("an empty group can be planned");
    given_up.put(Group::Inputs, &group, &plan).expect("and written");
    given_up.append(&line(sink, 1, ExecutionStatus::InputsSaved)).expect("a line can be appended");
    given_up.discard().expect("the place can be given up");
    assert_eq!((case.contents)(&location), None, "nothing is left of it");
    assert_eq!((case.contents)(kept.location()), Some(Contents::default()), "its neighbour stays");
}

fn a_flush_has_a_place_of_its_own_and_its_files_become_the_call_s(case: &SinkCase) {
    let sink = &*case.sink;
    let mut place = open(sink);
    let of_call = place.location().to_owned();
    place.append(&line(sink, 1, ExecutionStatus::GraphCapturePendingFlush)).expect("a line can be appended");
    let mut place = place.into_captured();
    let contents = |location: &str| (case.contents)(location).map(|contents| contents.groups);
    let inputs = BTreeSet::from([Group::Inputs]);
    let mut flushes = Vec::new();
    for (index, value) in [(1, 1.0), (2, 2.0)] {
        let tensor =
            TensorBuf::from_f32(DType::Float32, &[4], &[value; 4]).expect("four values for four elements");
        let group = TensorGroup { stem: Group::Inputs.stem(), tensors: vec![("arg_0", tensor.as_view())] };
        let plan = sink.plan(&group).expect("floats can be kept");
        let mut flush = place.open_flush(index).expect("a flush can be opened");
        let location = place.flush_location(index);
        assert!(location.starts_with(&of_call), "{location} is inside {of_call}");
        assert_eq!(contents(&location), Some(BTreeSet::new()), "it is empty");
        let WrittenFile { bytes, hash, is_unstable } =
            flush.put(Group::Inputs, &group, &plan).expect("the file can be written");
        let saved = line(sink, 1, ExecutionStatus::InputsSaved);
        assert_eq!(flush.append(&saved).expect("a line can be appended"), saved.byte_len());
        let before = if index == 1 { BTreeSet::new() } else { inputs.clone() };
        assert_eq!(contents(&of_call), Some(before), "the call's place is as it was");
        let file = RecordedFile { name: Group::Inputs.file_name(plan.format), bytes, hash, is_unstable };
        assert_eq!(flush.publish(&file).expect("the file can be published"), bytes);
        assert_eq!(flush.append_to_call(&saved).expect("a line can be appended"), saved.byte_len());
        assert_eq!(contents(&of_call), Some(inputs.clone()));
        flushes.push(flush);
    }
    let second = flushes.pop().expect("there are two");
    let [first, location] = [1, 2].map(|index| place.flush_location(index));
    second.discard().expect("a flush can be given up");
    assert_eq!(contents(&location), None, "nothing is left of it");
    let lines = (case.contents)(&of_call).expect("it is there").statuses;
    let saved = ExecutionStatus::InputsSaved;
    assert_eq!(lines, [ExecutionStatus::GraphCapturePendingFlush, saved.clone(), saved]);
    for left in [&first, &of_call] {
        assert_eq!(
            contents(left),
            Some(inputs.clone()),
            "what was published and what another flush wrote stays"
        );
    }
}

fn lines_of_many_threads_stay_whole(case: &SinkCase) {
    let sink = &*case.sink;
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in thread * EACH..(thread + 1) * EACH {
                    let line = line(sink, number, ExecutionStatus::Completed);
                    assert_eq!(sink.log(&line).expect("a line can be logged"), line.byte_len());
                }
            });
        }
    });
    let logged = (case.session)();
    let of_thread = |thread: u64| logged.iter().filter(move |number| **number / EACH == thread).copied();
    for thread in 0..THREADS {
        let expected = thread * EACH..(thread + 1) * EACH;
        assert!(of_thread(thread).eq(expected), "each line once, in the order of its thread: {logged:?}");
    }
    assert_eq!(logged.len() as u64, THREADS * EACH);
}
