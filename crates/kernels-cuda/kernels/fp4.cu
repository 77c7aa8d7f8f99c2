// Four-bit floats with a scale for each block of neighbours: quantising to them, and multiplying them.
//
// A byte holds two e2m1 codes of a row, the even element in the low nibble. A block's scale is a byte too: an e4m3 number
// (NVFP4), or a power of two in e8m0 (MXFP4). Sources: OCP Microscaling Formats Specification 1.0; for the 128x4 tiles,
// NVIDIA, cuBLAS documentation, "1D Block Scaling Factors Layout".
#include "product.cuh"

// The order of the scales of R rows of C blocks. Tiles cover whole multiples of their sizes; what lies beyond is 0.
enum class ScaleLayout : u32 {
    // Row-major, without padding.
    linear = 0,
    // Tiles of 128 rows and 4 columns; rows r, r + 32, r + 64 and r + 96 lie next to each other.
    tiles_128x4 = 1,
    // Tiles of 8 rows and 4 columns, row-major inside.
    tiles_8x4 = 2,
};

__device__ inline u32 next_multiple(u32 value, u32 of) { return (value + of - 1) / of * of; }

__device__ inline u32 padded_rows(ScaleLayout layout, u32 rows) {
    if (layout == ScaleLayout::linear) return rows;
    return next_multiple(rows, layout == ScaleLayout::tiles_128x4 ? 128 : 8);
}

__device__ inline u32 padded_columns(ScaleLayout layout, u32 columns) {
    return layout == ScaleLayout::linear ? columns : next_multiple(columns, 4);
}

// The byte at which the scale of a row and a block lies; `columns` are the padded ones.
__device__ inline u64 scale_place(ScaleLayout layout, u64 columns, u32 row, u32 column) {
    const u64 tiles = columns / 4, tile = column / 4;
    switch (layout) {
        case ScaleLayout::tiles_128x4:
            return (row / 128 * tiles + tile) * 512 + row % 32 * 16 + row % 128 / 32 * 4 + column % 4;
        case ScaleLayout::tiles_8x4: return (row / 8 * tiles + tile) * 32 + row % 8 * 4 + column % 4;
        default: return row * columns + column;
    }
}

// By value. Strides count elements.
struct Quantization {
    // [rows, width] of the kernel's type.
    const void* input;
    // [rows, width / 2], row-major.
    u8* codes;
    // In the order of `layout`, padding included.
    u8* scales;
    i64 row_stride;
    i64 element_stride;
    u32 rows;
    u32 width;
    // Elements that share a scale; divides `width`, and is even.
    u32 block;
    ScaleLayout layout;
    // 1: scales are powers of two; 0: they are e4m3 numbers.
    u32 e8m0;
    // Multiplies what an e4m3 scale stands for.
    float global_scale;
};
static_assert(sizeof(Quantization) == 64);

// The code of the smallest power of two that is not below a value that is not negative; the largest finite one if none is.
__device__ inline u32 e8m0_not_below(float value) {
    const u32 exponent = to_bits(value) >> 23, mantissa = to_bits(value) & 0x7fffffu;
    // Code 0 is 2^-127, which f32 holds as a subnormal number.
    const u32 code = exponent + (exponent == 0 ? mantissa > 1u << 22 : mantissa > 0);
    return code < 0xfeu ? code : 0xfeu;
}

// Writes the codes of a block, and returns its scale. With the block's greatest magnitude amax:
// e4m3: scale = e4m3(amax * g / 6), code = e2m1(x * (g * (1 / scale))), in this order of roundings, since 16-bit inputs
// hit exact ties; 0 with the sign of x where the scale is 0. e8m0: scale = 2^ceil(log2(amax / 6)), code = e2m1(x / scale).
template <class T>
__device__ u8 quantize_block(const Quantization& q, u32 row, u32 column) {
    const T* input = static_cast<const T*>(q.input) + row * q.row_stride;
    const u32 first = column * q.block;
    float amax = 0.0f;
    for (u32 i = first; i < first + q.block; ++i) amax = fmaxf(amax, fabsf(to_float(input[i * q.element_stride])));
    u32 scale;
    float factor;
    if (q.e8m0) {
        scale = e8m0_not_below(amax / 6.0f);
        factor = 1.0f / e8m0_to_float(scale);
    } else {
        scale = from_float<e4m3>(amax * q.global_scale / 6.0f).bits;
        const float value = to_float(e4m3{static_cast<u8>(scale)});
        factor = value == 0.0f ? 0.0f : q.global_scale * (1.0f / value);
    }
    u8* codes = q.codes + static_cast<u64>(row) * (q.width / 2);
    for (u32 i = first; i < first + q.block; i += 2) {
        const u32 even = e2m1_from_float(to_float(input[i * q.element_stride]) * factor);
        const u32 odd = e2m1_from_float(to_float(input[(i + 1) * q.element_stride]) * factor);
        codes[i / 2] = static_cast<u8>(even | odd << 4);
    }
    return static_cast<u8>(scale);
}

// A thread per scale, those of the padding too; grid and block of any one-dimensional size.
template <class T>
__device__ void quantize(const Quantization& q) {
    const u32 columns = q.width / q.block, all_columns = padded_columns(q.layout, columns);
    const u64 count = static_cast<u64>(padded_rows(q.layout, q.rows)) * all_columns;
    const u64 step = static_cast<u64>(gridDim.x) * blockDim.x;
    for (u64 item = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x; item < count; item += step) {
        const u32 row = static_cast<u32>(item / all_columns), column = static_cast<u32>(item % all_columns);
        const bool inside = row < q.rows && column < columns;
        q.scales[scale_place(q.layout, all_columns, row, column)] = inside ? quantize_block<T>(q, row, column) : u8{0};
    }
}

#define QUANTIZE(name, T) \
    extern "C" __global__ void name(Quantization quantization) { quantize<T>(quantization); }

QUANTIZE(fp4_quantize_f16, f16)
QUANTIZE(fp4_quantize_bf16, bf16)
QUANTIZE(fp4_quantize_f32, float)
QUANTIZE(fp4_quantize_e4m3, e4m3)

// A matrix of codes.
struct Fp4Factor {
    // A byte for each row and pair of k.
    const u8* codes;
    // Of all rows, in the order of `layout`.
    const u8* scales;
    // In bytes.
    i64 row_stride;
    i64 pair_stride;
    ScaleLayout layout;
    u32 unused;
};

// By value.
struct Fp4Product {
    // [m, k], and the second factor by its columns: [n, k].
    Fp4Factor a;
    Fp4Factor b;
    // [m, n] of `out_type`, row-major.
    void* out;
    // [m]: multiplies each row's sums; null: `alpha` multiplies all.
    const float* alphas;
    u32 m;
    u32 n;
    u32 k;
    // Elements of k that share a scale.
    u32 block;
    // 1: scales are powers of two; 0: they are e4m3 numbers.
    u32 e8m0;
    Type out_type;
    float alpha;
    u32 unused;
};
static_assert(sizeof(Fp4Product) == 128);

__device__ inline float element_of(const Fp4Product& p, const Fp4Factor& factor, u32 row, u32 k) {
    const u32 byte = factor.codes[row * factor.row_stride + k / 2 * factor.pair_stride];
    const u64 place = scale_place(factor.layout, padded_columns(factor.layout, p.k / p.block), row, k / p.block);
    const u8 scale = factor.scales[place];
    return e2m1_to_float(byte >> k % 2 * 4 & 15u) * (p.e8m0 ? e8m0_to_float(scale) : to_float(e4m3{scale}));
}

// out = (sum_k a * a_scale * b * b_scale) * alpha. Grid [n / 64, m / 64], each rounded up; block [16, 16].
extern "C" __global__ void __launch_bounds__(256) mm_fp4(Fp4Product p) {
    multiply(
        p.m, p.n, p.k, p.a.pair_stride == 1, p.b.pair_stride == 1,
        [&](u32 row, u32 k) { return element_of(p, p.a, row, k); },
        [&](u32 column, u32 k) { return element_of(p, p.b, column, k); },
        [&](u32 row, u32 column, float sum) {
            const float alpha = p.alphas ? p.alphas[row] : p.alpha;
            store(p.out, static_cast<i64>(row) * p.n + column, p.out_type, sum * alpha);
        });
}
