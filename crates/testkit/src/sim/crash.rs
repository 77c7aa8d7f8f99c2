//! Every state that a crash may leave.

use std::fmt;

use super::tree::{Effect, Kept, Node, Tree};

/// What a crash takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process: what it wrote stays, its last write may be cut anywhere.
    Process,
    /// The system, by a loss of power: what was not synced stays or is lost, each effect for itself.
    System,
}

/// How thoroughly the states are gone through.
#[derive(Clone, Copy, Debug)]
pub struct Thoroughness {
    /// A write of up to so many bytes is cut at each of them, a longer one at its ends and at some places in between.
    pub every_byte_up_to: usize,
    /// Random choices of what a loss of power takes, for each prefix.
    pub random: usize,
}

/// The states that a crash may leave after the first effects of a run.
#[derive(Debug)]
pub struct CrashStates<'a> {
    effects: &'a [Effect],
    loss: Loss,
    thoroughness: Thoroughness,
    /// What was on the disk before each effect, nothing lost.
    before: Vec<Tree>,
}

/// A choice of what is lost: of these effects not everything is kept. In order; the last one may be the effect that
/// the crash interrupts, of which otherwise nothing is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice(Vec<(usize, Kept)>);

/// Places where a long write is cut, those at its ends aside.
const CUTS: usize = 16;
/// Up to so many effects that may be lost, every subset of them is tried.
const ALL_SUBSETS: usize = 6;

impl CrashStates<'_> {
    /// `before` is what was on the disk before the run, `effects` the run's own.
    pub fn of<'a>(
        before: &Tree,
        effects: &'a [Effect],
        loss: Loss,
        thoroughness: Thoroughness,
    ) -> CrashStates<'a> {
        let mut trees = vec![before.clone()];
        for effect in effects {
            let mut tree = trees[trees.len() - 1].clone();
            tree.apply(effect, Kept::Whole);
            trees.push(tree);
        }
        CrashStates { effects, loss, thoroughness, before: trees }
    }

    /// Returns what the disk is like after the first `prefix` effects and the choice's losses.
    pub fn state(&self, prefix: usize, choice: &Choice) -> Tree {
        let first = choice.0.first().map_or(prefix, |(number, _)| *number).min(prefix);
        let mut tree = self.before[first].clone();
        for (number, effect) in self.effects.iter().enumerate().take(prefix + 1).skip(first) {
            let kept = choice.0.iter().find(|(chosen, _)| *chosen == number).map(|(_, kept)| *kept);
            match kept {
                Some(kept) => tree.apply(effect, kept),
                None if number < prefix => tree.apply(effect, Kept::Whole),
                None => {}
            }
        }
        tree
    }

    /// Returns what may be lost after the first `prefix` effects; `random` gives the random numbers.
    pub fn choices(&self, prefix: usize, random: &mut dyn FnMut() -> u64) -> Vec<Choice> {
        let mut choices = vec![Choice::default()];
        if let Some(Effect::Written { bytes, .. }) = self.effects.get(prefix) {
            choices.extend(self.cuts(bytes.len()).map(|len| Choice(vec![(prefix, Kept::First(len))])));
        }
        if self.loss == Loss::System {
            let open = self.unsynced(prefix);
            choices.extend(subsets(&open));
            for effect in &open {
                if let Effect::Written { bytes, .. } = &self.effects[*effect] {
                    choices.extend(self.torn(bytes.len()).map(|kept| Choice(vec![(*effect, kept)])));
                }
            }
            choices.extend((0..self.thoroughness.random).map(|_| self.random_choice(prefix, &open, random)));
        }
        choices
    }

    /// Returns what a loss of power may make of a write.
    fn torn(&self, len: usize) -> impl Iterator<Item = Kept> {
        let zeroed = [(0, len), (0, len / 2), (len / 2, len), (len / 3, 2 * len / 3)];
        let zeroed = zeroed.into_iter().map(|(from, to)| Kept::Zeroed { from, to });
        zeroed.chain(self.cuts(len).map(Kept::First))
    }

    /// Returns where to cut a write.
    fn cuts(&self, len: usize) -> impl Iterator<Item = usize> + use<> {
        let step = if len <= self.thoroughness.every_byte_up_to { 1 } else { len.div_ceil(CUTS) };
        (1..len).filter(move |cut| cut % step == 0 || *cut < 4 || len - cut < 4)
    }

    /// Each effect for itself, the one that the crash interrupts as well.
    fn random_choice(&self, prefix: usize, open: &[usize], random: &mut dyn FnMut() -> u64) -> Choice {
        let mut kept = |effect: &usize| match (random() % 4, &self.effects[*effect]) {
            (0, _) => Kept::Whole,
            (1, Effect::Written { bytes, .. }) => Kept::First(random() as usize % (bytes.len() + 1)),
            (2, Effect::Written { bytes, .. }) => {
                let (from, to) =
                    (random() as usize % (bytes.len() + 1), random() as usize % (bytes.len() + 1));
                Kept::Zeroed { from: from.min(to), to: from.max(to) }
            }
            _ => Kept::Lost,
        };
        let interrupted = (prefix < self.effects.len()).then_some(prefix);
        Choice(open.iter().copied().chain(interrupted).map(|effect| (effect, kept(&effect))).collect())
    }

    /// Returns the effects of a prefix that no later sync of it covers.
    fn unsynced(&self, prefix: usize) -> Vec<usize> {
        // The first sync decides: what one that failed was to keep, no later one keeps.
        let is_synced = |from: usize, node: Node| {
            let syncs = self.effects[from..prefix].iter().filter_map(|effect| match effect {
                Effect::Synced(synced) if *synced == node => Some(true),
                Effect::SyncFailed(synced) if *synced == node => Some(false),
                _ => None,
            });
            syncs.into_iter().next() == Some(true)
        };
        let is_open = |number: &usize| match &self.effects[*number] {
            Effect::Made { at, .. } | Effect::Renamed { at, .. } | Effect::Removed { at, .. } => {
                !is_synced(*number, *at)
            }
            Effect::Written { node, .. } | Effect::Allocated { node, .. } | Effect::Cut { node, .. } => {
                !is_synced(*number, *node)
            }
            Effect::Synced(_) | Effect::SyncFailed(_) => false,
        };
        (0..prefix).filter(is_open).collect()
    }
}

/// Returns choices of which effects are lost as a whole: every one where there are few; else each alone, all others,
/// earlier ones and later ones.
fn subsets(open: &[usize]) -> Vec<Choice> {
    let lost = |places: &[usize]| Choice(places.iter().map(|place| (*place, Kept::Lost)).collect());
    if open.len() <= ALL_SUBSETS {
        let chosen = |bits: usize| {
            let places = open.iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1);
            places.map(|(_, place)| *place).collect::<Vec<_>>()
        };
        return (1..1 << open.len()).map(|bits| lost(&chosen(bits))).collect();
    }
    let mut choices = vec![lost(open)];
    for place in 0..open.len() {
        choices.push(lost(&open[place..=place]));
        choices.push(lost(&open[..place]));
        choices.push(lost(&open[place..]));
        choices.push(lost(&[&open[..place], &open[place + 1..]].concat()));
    }
    choices
}

/// Says it in words: `effect 3 lost, effect 5 cut to 17 bytes`.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.iter().map(|(effect, kept)| match kept {
            Kept::Whole => format!("effect {effect} kept"),
            Kept::Lost => format!("effect {effect} lost"),
            Kept::First(len) => format!("effect {effect} cut to {len} bytes"),
            Kept::Zeroed { from, to } => format!("effect {effect} with zeros from {from} to {to}"),
        });
        let words: Vec<_> = words.collect();
        f.write_str(&if words.is_empty() { "nothing lost".to_owned() } else { words.join(", ") })
    }
}
