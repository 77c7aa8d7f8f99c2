//! Measures how fast a session of 100,000 calls is listed, against plainly reading its index.
//!
//! `cargo bench -p callbox-sink-fs` makes the session in the folder for temporary files (about 350 MB) and
//! removes it again. With `--keep DIR` the session is made there and stays, for other readers to be compared.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, io};

use callbox_core::{DumpSource, SlotName};
use callbox_sink_fs::{FsSource, ReadOptions};

const CALLS: u64 = 100_000;
const ROUNDS: usize = 5;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let temporary = tempfile::tempdir()?;
    let keep = arguments.iter().position(|argument| argument == "--keep");
    let folder = keep
        .and_then(|place| arguments.get(place + 1))
        .map_or(temporary.path().to_owned(), PathBuf::from);
    make_session(&folder)?;

    let index = folder.join("session.jsonl");
    let bytes = fs::metadata(&index)?.len();
    let read = best_of(|| read_plainly(&index))?;
    let list = best_of(|| list(&folder))?;
    let only_index = folder.join("index_alone");
    fs::create_dir_all(&only_index)?;
    fs::hard_link(&index, only_index.join("session.jsonl")).or_else(ignore_existing)?;
    let scan = best_of(|| list_without_folders(&only_index))?;
    println!("{CALLS} calls, session.jsonl of {:.0} MB", bytes as f64 / 1e6);
    report("read plainly", read, bytes);
    report("index scanned", scan, bytes);
    report("session listed, with its folders", list, bytes);
    Ok(())
}

fn report(what: &str, time: Duration, bytes: u64) {
    let rate = bytes as f64 / time.as_secs_f64() / 1e9;
    println!("{what:34} {:7.1} ms {rate:6.2} GB/s", time.as_secs_f64() * 1e3);
}

fn best_of(mut run: impl FnMut() -> io::Result<()>) -> io::Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

fn read_plainly(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 << 10];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

fn list(folder: &Path) -> io::Result<()> {
    let source = FsSource::open(folder, Vec::new(), ReadOptions::default()).map_err(io::Error::other)?;
    let session = source.calls().map_err(io::Error::other)?;
    assert_eq!((session.calls.len() as u64, session.findings.len()), (CALLS, 0));
    Ok(())
}

fn list_without_folders(folder: &Path) -> io::Result<()> {
    let source = FsSource::open(folder, Vec::new(), ReadOptions::default()).map_err(io::Error::other)?;
    assert_eq!(
        source.calls().map_err(io::Error::other)?.calls.len() as u64,
        CALLS
    );
    Ok(())
}

fn ignore_existing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists {
        Ok(())
    } else {
        Err(error)
    }
}

fn make_session(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut index = BufWriter::new(File::create(folder.join("session.jsonl"))?);
    for call in 0..CALLS {
        let slot = SlotName {
            timestamp: format!("20251204_{:06}_{:03}", 143_216 + call / 1000, call % 1000),
            process_id: 12345,
            function: "BatchDecodeWithPagedKVCacheWrapper.run".to_owned(),
            call_sequence: call + 1,
        };
        fs::create_dir_all(folder.join(slot.to_string()))?;
        for (status, outputs) in [("inputs_saved", false), ("completed", true)] {
            write_line(&mut index, &slot, status, outputs)?;
        }
    }
    index.flush()
}

/// Writes a line as FlashInfer writes it for a decode step with a paged cache.
fn write_line(out: &mut impl Write, slot: &SlotName, status: &str, outputs: bool) -> io::Result<()> {
    let tensor = |shape: &str, stride: &str| {
        format!(r#"{{"shape": {shape}, "dtype": "torch.bfloat16", "stride": {stride}, "device": "cuda:0"}}"#)
    };
    let query = tensor("[64, 32, 128]", "[4096, 128, 1]");
    let cache = tensor("[2048, 16, 8, 128]", "[16384, 1024, 128, 1]");
    let nested = cache.replacen("{", "{\"type\": \"torch.Tensor\", ", 1).replacen(
        '}',
        ", \"requires_grad\": false, \"is_contiguous\": true, \"tensor_key\": \"arg_2__0\"}",
        1,
    );
    let (output_keys, output_sizes, output_details) = if outputs {
        (
            "\"result\"",
            ", \"output_size_bytes\": 524288, \"output_size_mb\": 0.5, \"total_size_bytes\": 135790592, \
             \"total_size_mb\": 129.5",
            format!(", \"result\": {query}"),
        )
    } else {
        ("", "", String::new())
    };
    let SlotName {
        timestamp,
        process_id,
        function,
        call_sequence,
    } = slot;
    writeln!(
        out,
        "{{\"function_name\": \"{function}\", \"module\": \"flashinfer.decode\", \"call_sequence\": {call_sequence}, \
         \"timestamp\": \"{timestamp}\", \"process_id\": {process_id}, \
         \"input_metadata\": {{\"arg_0\": {{\"type\": \"BatchDecodeWithPagedKVCacheWrapper\", \
         \"repr\": \"<flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper object at 0x7fd04ff06790>\"}}, \
         \"arg_2\": {{\"type\": \"tuple\", \"length\": 2, \"items\": [{nested}, {nested}], \"truncated\": false}}}}, \
         \"output_metadata\": {{}}, \"tensor_info\": {{\"input_tensor_keys\": [\"arg_1\", \"arg_2__0\", \"arg_2__1\"], \
         \"output_tensor_keys\": [{output_keys}], \"input_size_bytes\": 135266304, \"input_size_mb\": 129.0{output_sizes}}}, \
         \"tensor_details\": {{\"arg_1\": {query}, \"arg_2__0\": {cache}, \"arg_2__1\": {cache}{output_details}}}, \
         \"tensor_format\": \"torch\", \"function_signature\": \"(self, q: torch.Tensor, paged_kv_cache: \
         Union[torch.Tensor, Tuple[torch.Tensor, torch.Tensor]], *args, q_scale: Optional[float] = None, \
         k_scale: Optional[float] = None, v_scale: Optional[float] = None, out: Optional[torch.Tensor] = None, \
         lse: Optional[torch.Tensor] = None, return_lse: bool = False) -> torch.Tensor\", \
         \"versions\": {{\"torch\": \"2.15.0+cu132\", \"python\": \"3.11.7 (main, May  9 2026, 07:35:25) [GCC 12.2.0]\", \
         \"flashinfer\": \"0.7.2.post1\"}}, \"execution_status\": \"{status}\", \"graph_capture\": false, \
         \"self_id\": 140532011820944, \"dump_dir\": \"dumps/{slot}\"}}"
    )
}
