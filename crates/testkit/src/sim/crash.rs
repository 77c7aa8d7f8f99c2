//! Every state that a crash may leave.

use super::tree::{Effect, Kept, Tree};

/// What a crash takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process: what it wrote stays, its last write may be cut anywhere.
    Process,
    /// The system, by a loss of power: what was not synced stays or is lost, each effect for itself.
    System,
}

/// The states that a crash may leave after the first effects of a run.
#[derive(Debug)]
pub struct CrashStates<'a> {
    /// What was on the disk before the run.
    pub before: &'a Tree,
    /// The run's effects.
    pub effects: &'a [Effect],
    /// What the crash takes away.
    pub loss: Loss,
    /// Random choices of what is lost, for each prefix.
    pub random: usize,
}

/// A choice: of these effects not everything is kept.
type Choice = Vec<(usize, Kept)>;

/// At most so many cuts of one write, those at its ends first.
const CUTS: usize = 48;

impl CrashStates<'_> {
    /// Visits the states after the first `prefix` effects; `random` gives the random numbers.
    pub fn visit(&self, prefix: usize, random: &mut dyn FnMut() -> u64, visit: &mut dyn FnMut(Tree)) {
        for choice in self.choices(prefix, random) {
            visit(self.state(prefix, &choice));
        }
    }

    fn state(&self, prefix: usize, choice: &Choice) -> Tree {
        let mut tree = self.before.clone();
        // One more: the effect that the crash interrupts.
        for (number, effect) in self.effects.iter().enumerate().take(prefix + 1) {
            let kept = choice.iter().find(|(chosen, _)| *chosen == number).map(|(_, kept)| *kept);
            let kept = kept.unwrap_or(if number < prefix { Kept::Whole } else { Kept::Lost });
            if number < prefix || kept != Kept::Lost {
                tree.apply(effect, kept);
            }
        }
        tree
    }

    fn choices(&self, prefix: usize, random: &mut dyn FnMut() -> u64) -> Vec<Choice> {
        let mut choices = vec![Vec::new()];
        if let Some(Effect::Written { bytes, .. }) = self.effects.get(prefix) {
            choices.extend(cuts(bytes.len()).map(|len| vec![(prefix, Kept::First(len))]));
        }
        if self.loss == Loss::System {
            let open = self.unsynced(prefix);
            let lost = |places: &[usize]| places.iter().map(|place| (*place, Kept::Lost)).collect::<Choice>();
            choices.push(lost(&open));
            for (place, effect) in open.iter().enumerate() {
                // The rest kept, and the rest lost: earlier ones alone, later ones alone.
                choices.push(lost(&open[place..=place]));
                choices.push(lost(&open[..place]));
                choices.push(lost(&open[place..]));
                choices.push(lost(&[&open[..place], &open[place + 1..]].concat()));
                if let Effect::Written { bytes, .. } = &self.effects[*effect] {
                    choices.push(vec![(*effect, Kept::Zeros)]);
                    choices.extend(cuts(bytes.len()).map(|len| vec![(*effect, Kept::First(len))]));
                }
            }
            choices.extend((0..self.random).map(|_| self.random_choice(&open, random)));
        }
        choices
    }

    fn random_choice(&self, open: &[usize], random: &mut dyn FnMut() -> u64) -> Choice {
        let kept = |effect: &usize, number: u64| match (number % 4, &self.effects[*effect]) {
            (0, _) => Kept::Whole,
            (1, Effect::Written { bytes, .. }) => Kept::First((number >> 2) as usize % (bytes.len() + 1)),
            (2, Effect::Written { .. }) => Kept::Zeros,
            _ => Kept::Lost,
        };
        open.iter().map(|effect| (*effect, kept(effect, random()))).collect()
    }

    /// Returns the effects of a prefix that no later sync of it covers.
    fn unsynced(&self, prefix: usize) -> Vec<usize> {
        let is_synced = |from: usize, node| self.effects[from..prefix].contains(&Effect::Synced(node));
        let is_open = |number: &usize| match &self.effects[*number] {
            Effect::Made { at, .. } | Effect::Renamed { at, .. } | Effect::Removed { at, .. } => {
                !is_synced(*number, *at)
            }
            Effect::Written { node, .. } | Effect::Cut { node, .. } => !is_synced(*number, *node),
            Effect::Synced(_) => false,
        };
        (0..prefix).filter(is_open).collect()
    }
}

/// Returns where to cut a write: everywhere in a short one, and at the ends and in between of a long one.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    let step = (len / CUTS).max(1);
    (1..len).filter(move |cut| cut % step == 0 || *cut < 4 || len - cut < 4)
}
