//! NVIDIA's compiler for the kernels, which needs no GPU.

use std::env;
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

/// Names the compiler's shared library.
pub const NVRTC_VARIABLE: &str = "CALLBOX_NVRTC";

type Program = *mut c_void;
type SizeOf = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type TextOf = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

/// The compiler; its functions are those of NVIDIA's documentation, "NVRTC", chapter "Basic Usage".
#[derive(Debug)]
pub struct Nvrtc(Library);

/// What became of a source.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The program: PTX for a virtual architecture, and nothing for a real one.
    pub ptx: String,
    /// Errors and warnings, and what was asked for besides.
    pub log: String,
}

impl Nvrtc {
    /// Loads the compiler that the environment names.
    ///
    /// # Panics
    ///
    /// If it names none, or none that can be loaded: a test that did not run must not pass.
    pub fn load() -> Nvrtc {
        #[expect(clippy::disallowed_methods, reason = "these tests are programs of their own")]
        let path = env::var_os(NVRTC_VARIABLE).unwrap_or_else(|| {
            panic!("{NVRTC_VARIABLE} names no compiler: run these tests with `cargo xtask cuda`")
        });
        #[expect(unsafe_code, reason = "a library that is known by its documentation only")]
        // SAFETY: its initialisers are NVIDIA's own; the symbols stay visible to the part of it that it loads later.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) };
        Nvrtc(library.unwrap_or_else(|error| panic!("failed to load {}: {error}", path.display())))
    }

    /// Compiles a source for an architecture such as `compute_80` or `sm_90`; headers lie beside it.
    ///
    /// `Err`: the compiler's messages.
    pub fn compile(&self, source: &Path, architecture: &str) -> Result<Compiled, String> {
        let text =
            std::fs::read_to_string(source).map_err(|error| format!("{}: {error}", source.display()))?;
        let text = c_string(&text);
        let name = c_string(&source.file_name().unwrap_or_default().to_string_lossy());
        let folder = source.parent().unwrap_or(Path::new("."));
        let mut options = vec![
            format!("--gpu-architecture={architecture}"),
            "--std=c++17".to_owned(),
            format!("--include-path={}", folder.display()),
        ];
        let is_real = architecture.starts_with("sm_");
        if is_real {
            options.push("--ptxas-options=-v".to_owned());
        }
        let options: Vec<CString> = options.iter().map(|option| c_string(option)).collect();
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        #[expect(unsafe_code, reason = "a library that is known by its documentation only")]
        // SAFETY: the symbols have the types of the documentation; texts end with zero and live until the program that
        // was created is destroyed, as `options` do until the compiler returns.
        unsafe {
            let create: unsafe extern "C" fn(
                *mut Program,
                *const c_char,
                *const c_char,
                c_int,
                *const *const c_char,
                *const *const c_char,
            ) -> c_int = self.function("nvrtcCreateProgram")?;
            let compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int =
                self.function("nvrtcCompileProgram")?;
            let destroy: unsafe extern "C" fn(*mut Program) -> c_int =
                self.function("nvrtcDestroyProgram")?;

            let mut program = ptr::null_mut();
            if create(&raw mut program, text.as_ptr(), name.as_ptr(), 0, ptr::null(), ptr::null()) != 0 {
                return Err("the compiler makes no program".to_owned());
            }
            let status = compile(program, options.len() as c_int, options.as_ptr());
            let log = self.text(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog")?;
            let ptx = match (status, is_real) {
                (0, false) => self.text(program, "nvrtcGetPTXSize", "nvrtcGetPTX")?,
                _ => String::new(),
            };
            destroy(&raw mut program);
            if status == 0 { Ok(Compiled { ptx, log }) } else { Err(log) }
        }
    }

    /// Finds a function.
    ///
    /// # Safety
    ///
    /// `F` is the type of a function pointer, and the function's own.
    #[expect(unsafe_code, reason = "a library that is known by its documentation only")]
    unsafe fn function<F: Copy>(&self, name: &str) -> Result<F, String> {
        // SAFETY: as the caller promises.
        unsafe { self.0.get::<F>(name.as_bytes()).map(|symbol| *symbol).map_err(|error| error.to_string()) }
    }

    /// Asks for a text of a program.
    ///
    /// # Safety
    ///
    /// The program exists, and `of` writes as many bytes as `size_of` says.
    #[expect(unsafe_code, reason = "a library that is known by its documentation only")]
    unsafe fn text(&self, program: Program, size_of: &str, of: &str) -> Result<String, String> {
        // SAFETY: both functions have these types by the documentation, and the buffer has the size that was asked for.
        unsafe {
            let (size_of, of): (SizeOf, TextOf) = (self.function(size_of)?, self.function(of)?);
            let mut size = 0;
            size_of(program, &raw mut size);
            let mut bytes = vec![0u8; size];
            of(program, bytes.as_mut_ptr().cast());
            let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            Ok(String::from_utf8_lossy(text).into_owned())
        }
    }
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("neither sources nor options hold a zero")
}
