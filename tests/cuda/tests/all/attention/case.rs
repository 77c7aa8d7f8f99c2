//! One attention: sizes, dtypes, options, and the tensors that follow from them.

use callbox_core::{DType, Layout, TensorBuf};

use crate::trial::{Numbers, ints, random};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    SingleDecode,
    SinglePrefill,
    BatchDecode,
    BatchPrefill,
    RaggedPrefill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MaskKind {
    None,
    Causal,
    Custom,
    Packed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Encoding {
    None,
    Rope { theta: f32, scale: f32 },
    Alibi,
}

const MAX_BATCH: usize = 4;

#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) function: Function,
    pub(super) seed: u64,
    pub(super) kv_heads: usize,
    /// Query heads that share a kv head.
    pub(super) group: usize,
    pub(super) width: usize,
    pub(super) width_vo: usize,
    /// Queries and keys of each sequence; of the first `batch`.
    pub(super) q_len: [usize; MAX_BATCH],
    pub(super) kv_len: [usize; MAX_BATCH],
    pub(super) batch: usize,
    pub(super) dtype: DType,
    pub(super) kv_dtype: DType,
    pub(super) layout: &'static str,
    pub(super) page_size: usize,
    pub(super) mask: MaskKind,
    pub(super) window_left: i64,
    pub(super) soft_cap: f32,
    pub(super) sm_scale: Option<f32>,
    pub(super) encoding: Encoding,
    pub(super) sinks: bool,
    /// `q_scale`, `k_scale`, `v_scale`.
    pub(super) scales: Option<[f32; 3]>,
    pub(super) head_scales: bool,
    /// Every third token has a key of NaN and a value of infinities.
    pub(super) poisoned: bool,
    /// Rows and keys that a block works on at a time.
    pub(super) tile: [usize; 2],
}

impl Case {
    /// Any case that the function takes.
    pub(super) fn random(function: Function, seed: u64) -> Case {
        let mut numbers = Numbers::new(seed + 1000 * function as u64);
        let mut below = |end| numbers.below(end);
        let single = matches!(function, Function::SingleDecode | Function::SinglePrefill);
        let decode = matches!(function, Function::SingleDecode | Function::BatchDecode);
        let dtypes =
            [DType::Float16, DType::BFloat16, DType::Float32, DType::Float8E4M3Fn, DType::Float8E5M2];
        let masks = [MaskKind::None, MaskKind::Causal, MaskKind::Custom, MaskKind::Packed];
        // A decode of several rows has as many for each sequence.
        let rows = if function == Function::BatchDecode { 1 + below(2) } else { 1 };
        let encoding = match below(3) {
            0 => Encoding::Rope { theta: 1e4, scale: [1.0, 2.0][below(2)] },
            1 => Encoding::Alibi,
            _ => Encoding::None,
        };
        let half = 1 + below(20);
        Case {
            function,
            seed,
            kv_heads: 1 + below(3),
            group: 1 + below(4),
            // A head that turns has halves; another may have any number of elements.
            width: 2 * half - usize::from(!matches!(encoding, Encoding::Rope { .. })),
            width_vo: 1 + below(40),
            q_len: [0; MAX_BATCH].map(|_| if decode { rows } else { below(9) }),
            kv_len: [0; MAX_BATCH].map(|_| [0, below(8), below(60)][below(3)]),
            batch: if single { 1 } else { 1 + below(MAX_BATCH) },
            // Without a dtype of its own the result would be fp8 as the queries are.
            dtype: dtypes[below(if function == Function::SingleDecode { 3 } else { 5 })],
            kv_dtype: dtypes[below(5)],
            layout: ["NHD", "HND"][below(2)],
            page_size: 1 + below(6),
            mask: if decode { MaskKind::None } else { masks[below(4)] },
            window_left: [-1, below(12) as i64][below(2)],
            soft_cap: [0.0, 0.5 + below(20) as f32][below(2)],
            sm_scale: [None, Some(0.3)][below(2)],
            encoding,
            sinks: matches!(function, Function::BatchDecode | Function::BatchPrefill) && below(2) == 0,
            scales: [None, Some([0.5, 1.5, 2.0])][below(2)],
            head_scales: function == Function::SinglePrefill && below(2) == 0,
            poisoned: below(4) == 0,
            tile: [1 + below(20), 1 + below(40)],
        }
    }

    pub(super) fn qo_heads(&self) -> usize {
        self.kv_heads * self.group
    }

    pub(super) fn q_len(&self) -> &[usize] {
        &self.q_len[..self.batch]
    }

    pub(super) fn kv_len(&self) -> &[usize] {
        &self.kv_len[..self.batch]
    }

    pub(super) fn rows(&self) -> usize {
        self.q_len().iter().sum()
    }

    /// The dtype of the output: that of the queries, or where they are fp8 one that is asked for.
    pub(super) fn out_dtype(&self) -> DType {
        match self.dtype.item_size() {
            1 => DType::Float16,
            _ => self.dtype,
        }
    }

    pub(super) fn is_paged(&self) -> bool {
        matches!(self.function, Function::BatchDecode | Function::BatchPrefill)
    }

    /// `[rows, qo_heads, width]`.
    pub(super) fn queries(&self) -> TensorBuf {
        random(self.dtype, &[self.rows(), self.qo_heads(), self.width], self.seed)
    }

    /// Keys and values: `[tokens, kv_heads, width]`, or pages of them, in the layout.
    pub(super) fn keys_and_values(&self) -> [TensorBuf; 2] {
        [(self.width, f32::NAN), (self.width_vo, f32::INFINITY)].map(|(width, poison)| {
            let tokens: usize = self.kv_len().iter().sum();
            let shape = [tokens, self.kv_heads, width];
            let vectors = random(self.kv_dtype, &shape, self.seed + width as u64 + 1);
            let vectors = if self.poisoned { poisoned(&vectors, poison) } else { vectors };
            if self.is_paged() { self.in_pages(&vectors, width) } else { self.side_by_side(&vectors) }
        })
    }

    /// Pages of each sequence, in an order that is not that of the tokens; every page is in use.
    pub(super) fn pages(&self) -> Vec<Vec<i32>> {
        let mut numbers = Numbers::new(self.seed + 17);
        let n_pages: Vec<usize> = self.kv_len().iter().map(|len| len.div_ceil(self.page_size)).collect();
        let mut order: Vec<i32> = (0..n_pages.iter().sum::<usize>() as i32).collect();
        for place in 1..order.len() {
            order.swap(place, numbers.below(place + 1));
        }
        let mut rest = order.into_iter();
        n_pages.iter().map(|&n| rest.by_ref().take(n).collect()).collect()
    }

    /// `[batch + 1]` bounds of sequences of these lengths.
    pub(super) fn indptr(lengths: impl Iterator<Item = usize>) -> TensorBuf {
        let mut bounds = vec![0];
        for len in lengths {
            bounds.push(bounds[bounds.len() - 1] + len as i32);
        }
        ints(&bounds)
    }

    /// Tokens of each sequence's last page; of one without pages something that means nothing.
    pub(super) fn last_page_len(&self) -> TensorBuf {
        let last = |len: &usize| if *len == 0 { 0 } else { (len - 1) % self.page_size + 1 };
        ints(&self.kv_len().iter().map(|len| last(len) as i32).collect::<Vec<_>>())
    }

    /// Whether each query sees each key, sequence by sequence; two in three do.
    pub(super) fn mask_bits(&self) -> Vec<Vec<bool>> {
        let mut numbers = Numbers::new(self.seed + 29);
        let blocks = self.q_len().iter().zip(self.kv_len());
        blocks.map(|(q, k)| (0..q * k).map(|_| numbers.below(3) > 0).collect()).collect()
    }

    /// The same as bits, least significant first, each sequence from a fresh byte.
    pub(super) fn packed_mask(&self) -> Vec<Vec<u8>> {
        let pack = |bits: &[bool]| (0..bits.len()).fold(0, |byte, i| byte | u8::from(bits[i]) << i);
        self.mask_bits().iter().map(|bits| bits.chunks(8).map(pack).collect()).collect()
    }

    /// A number for each of some heads.
    pub(super) fn per_head(&self, heads: usize, salt: u64) -> TensorBuf {
        random(DType::Float32, &[heads], self.seed + salt)
    }

    fn side_by_side(&self, vectors: &TensorBuf) -> TensorBuf {
        match self.layout {
            "HND" => {
                let [tokens, heads, width] = vectors.shape().try_into().unwrap();
                let layout = Layout::new(&[heads, tokens, width], &[width, heads * width, 1], 0).unwrap();
                let by_heads = vectors.with_layout(layout).unwrap();
                TensorBuf::from_elements(self.kv_dtype, by_heads.shape(), by_heads.to_bytes()).unwrap()
            }
            _ => vectors.clone(),
        }
    }

    /// Slots without a token hold NaN.
    fn in_pages(&self, vectors: &TensorBuf, width: usize) -> TensorBuf {
        let vector_bytes = width * self.kv_dtype.item_size();
        let pages = self.pages();
        let n_pages: usize = pages.iter().map(Vec::len).sum();
        let mut bytes = vec![0xff; n_pages * self.page_size * self.kv_heads * vector_bytes];
        let elements = vectors.to_bytes();
        let mut tokens = elements.chunks_exact(self.kv_heads * vector_bytes);
        for (pages, &len) in pages.iter().zip(self.kv_len()) {
            for token in 0..len {
                let (page, slot) = (pages[token / self.page_size] as usize, token % self.page_size);
                for (head, vector) in tokens.next().unwrap().chunks_exact(vector_bytes).enumerate() {
                    let place = match self.layout {
                        "HND" => (page * self.kv_heads + head) * self.page_size + slot,
                        _ => (page * self.page_size + slot) * self.kv_heads + head,
                    };
                    bytes[place * vector_bytes..][..vector_bytes].copy_from_slice(vector);
                }
            }
        }
        let shape = match self.layout {
            "HND" => [n_pages, self.kv_heads, self.page_size, width],
            _ => [n_pages, self.page_size, self.kv_heads, width],
        };
        TensorBuf::from_elements(self.kv_dtype, &shape, bytes).unwrap()
    }
}

fn poisoned(vectors: &TensorBuf, poison: f32) -> TensorBuf {
    let mut values = vectors.to_f32().unwrap();
    let token_len = values.len() / vectors.shape()[0].max(1);
    for token in values.chunks_exact_mut(token_len.max(1)).step_by(3) {
        token.fill(poison);
    }
    TensorBuf::from_f32(vectors.dtype(), vectors.shape(), &values).unwrap()
}
