//! Random attentions, the same one for every function: tensors, arguments, and what the formula gives.

use callbox_core::{DType, Layout, OwnedValue, TensorBuf, Value};
use proptest::prelude::*;

use super::oracle::{Encoding, Formula};
use crate::trial::{self, Trial, check_rounded, exact};

/// Sizes, dtypes and options of an attention.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) seed: u64,
    pub(super) kv_heads: usize,
    /// Query heads that share a kv head.
    pub(super) group: usize,
    pub(super) width: usize,
    pub(super) width_vo: usize,
    /// Queries and keys of each sequence.
    pub(super) sequences: Vec<(usize, usize)>,
    pub(super) dtype: DType,
    pub(super) kv_dtype: DType,
    pub(super) layout: &'static str,
    pub(super) page_size: usize,
    /// Keys and values lie with gaps and in another order.
    pub(super) scattered: bool,
    pub(super) mask: MaskKind,
    pub(super) window_left: i64,
    pub(super) soft_cap: Option<f32>,
    pub(super) sm_scale: Option<f32>,
    pub(super) encoding: Encoding,
    pub(super) sinks: bool,
    /// `q_scale`, `k_scale`, `v_scale`.
    pub(super) scales: Option<[f32; 3]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MaskKind {
    None,
    Causal,
    Custom,
    Packed,
}

/// Any case of up to `sequences` sequences with up to `q_len` queries.
pub(super) fn case(sequences: usize, q_len: usize) -> impl Strategy<Value = Case> {
    let sizes = (1usize..4, 1usize..4, 1usize..20, 1usize..40);
    let lengths = prop::collection::vec((0..=q_len, prop_oneof![Just(0), 0usize..40]), 1..=sequences);
    let dtypes = (trial::float_dtype(), kv_dtype());
    let places = (prop::sample::select(vec!["NHD", "HND"]), 1usize..7, any::<bool>());
    let masks = (
        prop::sample::select(vec![MaskKind::None, MaskKind::Causal, MaskKind::Custom, MaskKind::Packed]),
        prop_oneof![Just(-1i64), 0i64..12],
    );
    let logits = (
        prop::option::of(prop_oneof![Just(0f32), 0.5f32..20.0]),
        prop::option::of(0.01f32..0.5),
        prop_oneof![
            Just(Encoding::None),
            Just(Encoding::Alibi),
            (1f64..4.0, 10f64..20000.0).prop_map(|(scale, theta)| Encoding::Rope {
                scale: f64::from(scale as f32),
                theta: f64::from(theta as f32),
            }),
        ],
    );
    let scales = (any::<bool>(), prop::option::of([0.5f32..2.0, 0.5f32..2.0, 0.5f32..2.0]));
    (any::<u64>(), sizes, lengths, dtypes, places, masks, logits, scales).prop_map(
        |(
            seed,
            (kv_heads, group, half_width, width_vo),
            sequences,
            (dtype, kv_dtype),
            (layout, page_size, scattered),
            (mask, window_left),
            (soft_cap, sm_scale, encoding),
            (sinks, scales),
        )| Case {
            seed,
            kv_heads,
            group,
            // A head that turns has halves; another may have any number of elements.
            width: 2 * half_width - usize::from(!matches!(encoding, Encoding::Rope { .. })),
            width_vo,
            sequences,
            dtype,
            kv_dtype,
            layout,
            page_size,
            scattered,
            mask,
            window_left,
            soft_cap,
            sm_scale,
            encoding,
            sinks,
            scales,
        },
    )
}

fn kv_dtype() -> impl Strategy<Value = DType> {
    prop_oneof![trial::float_dtype(), prop::sample::select(vec![DType::Float8E4M3Fn, DType::Float8E5M2])]
}

impl Case {
    pub(super) fn qo_heads(&self) -> usize {
        self.kv_heads * self.group
    }

    pub(super) fn rows(&self) -> usize {
        self.sequences.iter().map(|(queries, _)| queries).sum()
    }

    fn tokens(&self) -> usize {
        self.sequences.iter().map(|(_, keys)| keys).sum()
    }

    /// `[rows, qo_heads, d]`.
    pub(super) fn q(&self) -> TensorBuf {
        trial::random(self.dtype, &[self.rows(), self.qo_heads(), self.width], self.seed)
    }

    /// `[tokens, kv_heads, d]`.
    pub(super) fn k(&self) -> TensorBuf {
        let shape = [self.tokens(), self.kv_heads, self.width];
        trial::random(self.kv_dtype, &shape, self.seed ^ 1)
    }

    /// `[tokens, kv_heads, d_vo]`.
    pub(super) fn v(&self) -> TensorBuf {
        let shape = [self.tokens(), self.kv_heads, self.width_vo];
        trial::random(self.kv_dtype, &shape, self.seed ^ 2)
    }

    /// Puts keys or values of a tensor `[.., tokens, heads, d]` into the layout, and scatters them.
    pub(super) fn placed(&self, tensor: &TensorBuf) -> TensorBuf {
        let placed = match self.layout {
            "HND" => heads_first(tensor),
            _ => tensor.clone(),
        };
        if self.scattered { trial::scattered(&placed) } else { placed }
    }

    /// Bounds `[0, n, ..]` of sequences of these lengths.
    pub(super) fn indptr(lengths: impl Iterator<Item = usize>) -> TensorBuf {
        let mut end = 0;
        let ends = lengths.map(|len| {
            end += len as i32;
            end
        });
        trial::ints(&[0].into_iter().chain(ends).collect::<Vec<_>>())
    }

    pub(super) fn qo_indptr(&self) -> TensorBuf {
        Case::indptr(self.sequences.iter().map(|&(queries, _)| queries))
    }

    pub(super) fn kv_indptr(&self) -> TensorBuf {
        Case::indptr(self.sequences.iter().map(|&(_, keys)| keys))
    }

    /// The options that every function has.
    pub(super) fn with_options(&self, mut trial: Trial) -> Trial {
        trial = trial.named("window_left", self.window_left);
        if let Some(cap) = self.soft_cap {
            trial = trial.named("logits_soft_cap", cap);
        }
        if let Some(scale) = self.sm_scale {
            trial = trial.named("sm_scale", scale);
        }
        match self.encoding {
            Encoding::None => trial,
            Encoding::Alibi => trial.named("pos_encoding_mode", "ALIBI"),
            Encoding::Rope { scale, theta } => trial
                .named("pos_encoding_mode", "ROPE_LLAMA")
                .named("rope_scale", scale as f32)
                .named("rope_theta", theta as f32),
        }
    }

    /// The options that prefill has: the masks, with `causal` beside a custom one, which takes its place.
    pub(super) fn with_masks(&self, trial: Trial) -> Trial {
        match self.mask {
            MaskKind::None => trial,
            MaskKind::Causal => trial.named("causal", true),
            MaskKind::Custom => {
                let bits = self.visible().concat();
                let bytes: Vec<u8> = bits.into_iter().map(u8::from).collect();
                let mask = TensorBuf::from_elements(DType::Bool, &[bytes.len()], bytes).unwrap();
                trial.named("custom_mask", mask).named("causal", true)
            }
            MaskKind::Packed => {
                let bytes: Vec<u8> = self.visible().iter().flat_map(|bits| packed(bits)).collect();
                let mask = trial::byte_tensor(&[bytes.len()], &bytes);
                // The other one is ignored, even one that would hide everything.
                let hidden = TensorBuf::from_elements(DType::Bool, &[1], vec![0]).unwrap();
                trial.named("packed_custom_mask", mask).named("custom_mask", hidden)
            }
        }
    }

    /// The scales, of the names that a function has.
    pub(super) fn with_scales(&self, trial: Trial, names: &[&str]) -> Trial {
        let scales = self.scales.iter().flatten();
        ["q_scale", "k_scale", "v_scale"]
            .into_iter()
            .zip(scales)
            .filter(|(name, _)| names.contains(name))
            .fold(trial, |trial, (name, &scale)| trial.named(name, scale))
    }

    /// A mask `[queries, keys]` for each sequence; every fifth query sees nothing.
    fn visible(&self) -> Vec<Vec<bool>> {
        self.sequences
            .iter()
            .enumerate()
            .map(|(index, &(queries, keys))| {
                let noise = trial::random(DType::Float32, &[queries * keys], self.seed ^ 3 ^ index as u64);
                let noise = noise.to_f32().unwrap().into_iter().enumerate();
                noise.map(|(place, value)| value > -1.5 && place / keys % 5 != 3).collect()
            })
            .collect()
    }

    pub(super) fn sinks(&self) -> TensorBuf {
        trial::random(DType::Float32, &[self.qo_heads()], self.seed ^ 4)
    }

    /// Pages of the keys and values: the cache, `indptr`, `indices` and `last_page_len`.
    ///
    /// Pages lie in no order, between pages that no sequence has; whatever is no token is NaN.
    pub(super) fn pages(&self) -> Pages {
        let counts: Vec<usize> =
            self.sequences.iter().map(|(_, keys)| keys.div_ceil(self.page_size)).collect();
        let used: usize = counts.iter().sum();
        let n_pages = 2 * used + 3;
        // 2 is prime to an odd number of pages, so that no page comes twice.
        let indices: Vec<usize> = (0..used).map(|page| (2 * page + 1) % (n_pages | 1)).collect();
        let shape = |width| [n_pages | 1, self.page_size, self.kv_heads, width];
        let cache = |tensor: TensorBuf, width: usize| {
            let row = self.kv_heads * width;
            let values = tensor.to_f32().unwrap();
            let mut cache = vec![f32::NAN; shape(width).iter().product()];
            let (mut token, mut page) = (0, 0);
            for (&(_, keys), count) in self.sequences.iter().zip(&counts) {
                for key in 0..keys {
                    let slot = indices[page + key / self.page_size] * self.page_size + key % self.page_size;
                    cache[slot * row..][..row].copy_from_slice(&values[(token + key) * row..][..row]);
                }
                token += keys;
                page += count;
            }
            trial::tensor(self.kv_dtype, &shape(width), &cache)
        };
        let last = |keys: usize| match keys % self.page_size {
            // Of a sequence without pages the length of the last one does not count.
            0 if keys == 0 => 3,
            0 => self.page_size,
            rest => rest,
        };
        let last: Vec<i32> = self.sequences.iter().map(|&(_, keys)| last(keys) as i32).collect();
        let mut listed: Vec<i32> = indices.iter().map(|&page| page as i32).collect();
        // What lies behind the last sequence's pages is not looked at.
        listed.push(-1);
        Pages {
            cache: self.cache(cache(self.k(), self.width), cache(self.v(), self.width_vo)),
            indptr: Case::indptr(counts.into_iter()),
            indices: trial::ints(&listed),
            last_page_len: trial::ints(&last),
        }
    }

    /// One tensor of keys and values where those are equally long and the seed wants it, else a tuple.
    fn cache(&self, keys: TensorBuf, values: TensorBuf) -> OwnedValue {
        if self.width != self.width_vo || self.seed % 2 == 1 {
            return Value::tuple(vec![
                Value::Tensor(self.placed(&keys)),
                Value::Tensor(self.placed(&values)),
            ]);
        }
        let page_bytes = keys.to_bytes().len() / keys.shape()[0];
        let (keys_bytes, values_bytes) = (keys.to_bytes(), values.to_bytes());
        let both: Vec<u8> = keys_bytes
            .chunks(page_bytes)
            .zip(values_bytes.chunks(page_bytes))
            .flat_map(|(keys, values)| [keys, values].concat())
            .collect();
        let mut shape = keys.shape().to_vec();
        shape.insert(1, 2);
        let both = TensorBuf::from_elements(self.kv_dtype, &shape, both).unwrap();
        Value::Tensor(self.placed(&both))
    }

    /// Checks an output `[rows, qo_heads, d_vo]` and a log-sum-exp `[rows, qo_heads]`, base 2, against the
    /// formula. `right` is the bound behind a query's place; `scales` are those that count.
    pub(super) fn check(
        &self,
        (output, lse): (TensorBuf, TensorBuf),
        right: Option<i64>,
        sinks: Option<TensorBuf>,
        [q_scale, k_scale, v_scale]: [f32; 3],
    ) {
        let (q, k, v) = (exact(&self.q()), exact(&self.k()), exact(&self.v()));
        let visible = self.visible();
        let custom = matches!(self.mask, MaskKind::Custom | MaskKind::Packed);
        let sinks = sinks.map(|sinks| exact(&sinks));
        let (mut expected, mut expected_lse) = (Vec::new(), Vec::new());
        let (mut row, mut token) = (0, 0);
        for (&(q_len, kv_len), visible) in self.sequences.iter().zip(&visible) {
            let (output, lse) = Formula {
                q: &q[row * self.qo_heads() * self.width..],
                k: &k[token * self.kv_heads * self.width..],
                v: &v[token * self.kv_heads * self.width_vo..],
                q_len,
                kv_len,
                qo_heads: self.qo_heads(),
                kv_heads: self.kv_heads,
                width: self.width,
                width_vo: self.width_vo,
                sm_scale: f64::from(q_scale)
                    * f64::from(k_scale)
                    * self.sm_scale.map_or(1.0 / (self.width as f64).sqrt(), f64::from),
                soft_cap: self.soft_cap.map(f64::from).filter(|&cap| cap > 0.0),
                encoding: self.encoding,
                right,
                left: (self.window_left >= 0).then_some(self.window_left),
                mask: custom.then_some(visible),
                sinks: sinks.as_deref(),
                v_scale: f64::from(v_scale),
            }
            .solve();
            expected.extend(output);
            expected_lse.extend(lse);
            row += q_len;
            token += kv_len;
        }
        // Angles and biases grow with a token's place, and their errors in f32 with them.
        let longest = self.sequences.iter().map(|&(_, keys)| keys).max();
        let slack = match self.encoding {
            Encoding::Rope { .. } | Encoding::Alibi => 2e-5 + 1e-6 * longest.unwrap_or(0) as f64,
            Encoding::None => 2e-5,
        };
        check_rounded(&lse, &expected_lse, slack);
        // An output is a mean of values, which reach 3: errors of the weights count by those, not by what is
        // left where they cancel.
        let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let slack = slack * 3.0 * f64::from(v_scale) / largest.max(f64::MIN_POSITIVE);
        check_rounded(&output, &expected, slack);
    }
}

/// A paged cache and its table.
pub(super) struct Pages {
    pub(super) cache: OwnedValue,
    pub(super) indptr: TensorBuf,
    pub(super) indices: TensorBuf,
    pub(super) last_page_len: TensorBuf,
}

/// Exchanges tokens and heads, the second and third dimension from the end, and copies.
pub(super) fn heads_first(tensor: &TensorBuf) -> TensorBuf {
    let layout = tensor.layout();
    let (mut shape, mut strides) = (layout.shape().to_vec(), layout.strides().to_vec());
    let n = shape.len();
    shape.swap(n - 3, n - 2);
    strides.swap(n - 3, n - 2);
    let view = tensor.with_layout(Layout::new(&shape, &strides, 0).unwrap()).unwrap();
    TensorBuf::from_elements(tensor.dtype(), &shape, view.to_bytes()).unwrap()
}

/// Eight bits a byte, least significant first.
pub(super) fn packed(bits: &[bool]) -> Vec<u8> {
    let byte = |eight: &[bool]| (0..8).map(|bit| u8::from(eight.get(bit) == Some(&true)) << bit).sum();
    bits.chunks(8).map(byte).collect()
}
