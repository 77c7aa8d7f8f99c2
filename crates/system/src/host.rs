//! The process and its machine.

use std::hash::{BuildHasher, RandomState};
use std::process;
use std::sync::Arc;

use callbox_core::{Host, PerProcess, Process, planted};

/// Tells the present process: its id, the machine's name, and 64 random bits that are new after a fork.
///
/// ```
/// use callbox_core::Host;
/// use callbox_system::SystemHost;
///
/// let process = SystemHost::new().process();
/// assert_eq!(process.id, u64::from(std::process::id()));
/// assert_eq!(process.token.len(), 16);
/// ```
#[derive(Debug)]
pub struct SystemHost {
    /// Without a lock: one that is held during a fork would never be given back in the child.
    process: PerProcess<u32, Arc<Process>>,
}

impl SystemHost {
    /// Returns a host; the machine's name and the random bits are asked for when they are needed.
    pub fn new() -> SystemHost {
        SystemHost { process: PerProcess::new() }
    }

    /// Returns the process with this id: the known one, or a new one if a fork has made it.
    fn process_with(&self, id: u32) -> Arc<Process> {
        self.process.get(&id, || Arc::new(process_of(id))).clone()
    }
}

impl Default for SystemHost {
    fn default() -> SystemHost {
        SystemHost::new()
    }
}

impl Host for SystemHost {
    fn process(&self) -> Arc<Process> {
        self.process_with(process::id())
    }
}

fn process_of(id: u32) -> Process {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let bits = if planted::bug("token_of_the_id_alone") { id.into() } else { random_bits() };
    Process { id: id.into(), host: host.into(), token: format!("{bits:016x}").into() }
}

/// Draws 64 bits that differ between processes with equal ids.
fn random_bits() -> u64 {
    let mut bits = [0; 8];
    match rustix::rand::getrandom(&mut bits, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => u64::from_le_bytes(bits),
        // Keys of hash maps are random too, but may come through a fork unchanged: the id and the time differ.
        Ok(_) | Err(_) => {
            #[expect(clippy::disallowed_methods, reason = "the time makes the bits differ")]
            let now = std::time::SystemTime::now();
            RandomState::new().hash_one((process::id(), now))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stays_the_same_until_it_forks() {
        let host = SystemHost::new();
        let parent = host.process();
        assert_eq!(host.process(), parent);
        let child = host.process_with(parent.id as u32 + 1);
        assert_eq!((child.id, &child.host), (parent.id + 1, &parent.host));
        assert_ne!(child.token, parent.token);
        assert_eq!(host.process_with(child.id as u32), child);
    }

    #[test]
    fn two_processes_with_one_id_have_different_tokens() {
        assert_ne!(process_of(7).token, process_of(7).token);
    }
}
