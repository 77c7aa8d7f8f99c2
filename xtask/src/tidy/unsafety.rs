//! Unsafe code stands in named modules only.

use super::Finding;
use super::source::find_word;
use super::tree::Tree;

/// The files, and what each needs it for.
pub(super) const FILES: [&str; 38] = [
    // Maps a file, to compare with.
    "benches/src/plain.rs",
    // Calls into the matrix product with pointers and strides.
    "crates/kernels-cpu/src/matmul.rs",
    // Exports a driver's functions, which are given pointers.
    "crates/kernels-cuda/fake-driver/src/answer.rs",
    "crates/kernels-cuda/fake-driver/src/capture.rs",
    "crates/kernels-cuda/fake-driver/src/context.rs",
    "crates/kernels-cuda/fake-driver/src/control.rs",
    "crates/kernels-cuda/fake-driver/src/device.rs",
    "crates/kernels-cuda/fake-driver/src/emulation.rs",
    "crates/kernels-cuda/fake-driver/src/event.rs",
    "crates/kernels-cuda/fake-driver/src/graph.rs",
    "crates/kernels-cuda/fake-driver/src/launch.rs",
    "crates/kernels-cuda/fake-driver/src/memory.rs",
    "crates/kernels-cuda/fake-driver/src/module.rs",
    "crates/kernels-cuda/fake-driver/src/pointer.rs",
    "crates/kernels-cuda/fake-driver/src/stream.rs",
    "crates/kernels-cuda/fake-driver/src/transfer.rs",
    // Makes the context current that was before.
    "crates/kernels-cuda/src/guest.rs",
    // Launches kernels on addresses.
    "crates/kernels-cuda/src/kernels/launch.rs",
    // Allocates device memory without contents, and looks at it as bytes.
    "crates/kernels-cuda/src/owner.rs",
    // Looks for the driver.
    "crates/kernels-cuda/src/probe.rs",
    // Lets the device write host memory.
    "crates/kernels-cuda/src/staging.rs",
    // Annotates unsafe functions, and calls them.
    "crates/macros/tests/all/unchanged.rs",
    // Counts what is allocated.
    "crates/macros/tests/level_off.rs",
    // Annotates unsafe functions.
    "crates/macros/tests/ui/fail/replay.rs",
    "crates/macros/tests/ui/pass/signatures.rs",
    // Closes a file and looks at the answer.
    "crates/sink-fs/src/close.rs",
    // Maps files into memory.
    "crates/sink-fs/src/mapped.rs",
    // Forks.
    "crates/sink-fs/tests/fork.rs",
    // Switches cudarc's event tracking off.
    "examples/cuda/src/main.rs",
    // Kernels of a library that a driver opens.
    "tests/cuda-driver/examples/emulated.rs",
    // Opens a driver and calls its control.
    "tests/cuda-driver/src/fake.rs",
    // Kernels, and launching them.
    "tests/cuda-driver/tests/all/kernels.rs",
    // Reads where there is nothing.
    "tests/src/bin/crasher.rs",
    // Forks, and handles a signal.
    "tests/src/c_library.rs",
    // Calls functions of libraries that are loaded by name.
    "tests/cuda/src/library.rs",
    // Allocates what kernels write to.
    "tests/cuda/src/memory.rs",
    "tests/cuda/src/nvrtc.rs",
    // Counts what is allocated.
    "tests/tests/memory/allocator.rs",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|(file, _)| !FILES.contains(&file.path.as_str()))
        .flat_map(|(file, source)| {
            find_word(&source.code, "unsafe").map(|(line, _)| {
                Finding::new(
                    &file.path,
                    line,
                    "unsafe code outside of the modules that xtask/src/tidy/unsafety.rs names",
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_code_elsewhere_is_found() {
        let check = |path, text| check(&Tree::of(&[(path, text)])).len();
        assert_eq!(check("crates/core/src/a.rs", "fn f() { unsafe { g() } }"), 1);
        assert_eq!(check("crates/core/src/a.rs", "#![deny(unsafe_code)] // unsafe"), 0);
        assert_eq!(check(FILES[0], "unsafe fn f() {}"), 0);
    }
}
