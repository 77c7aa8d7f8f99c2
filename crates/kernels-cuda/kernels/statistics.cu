// Minimum, maximum, mean and counts of special values: the numbers of `callbox_core::Stats`, and nothing else of a
// tensor has to travel.
//
// Floats are converted to f32 first: a float64 beyond f32 counts as infinite. Minimum and maximum are NaN if any element
// is; -0 is less than 0. Elements are summed in f64; the sum is rounded to f32 and divided by the count in f32.
// With NaN among the elements, or infinities of both signs, the mean is NaN; infinities of one sign are the mean.
// Integers are compared as they are, and summed after conversion to f32.
//
// Two kernels: `statistics_partial_<dtype>` writes a Partial for each block; `statistics_finish_float` or `.._integer`,
// one block, puts them together. Blocks are one-dimensional, of at most 256 threads and a power of two of them.
#include "block.cuh"
#include "rows.cuh"

constexpr u32 max_dims = 8;
constexpr u32 max_threads = 256;

// Which elements of a storage: `data` is the first. No dimensions mean that they are neighbours.
struct View {
    // Elements, all dimensions multiplied.
    u64 count;
    u64 dims;
    u64 shape[max_dims];
    // In elements; 0 where a dimension repeats them.
    u64 strides[max_dims];
};
static_assert(sizeof(View) == 144);

// What is known of some elements.
struct Partial {
    // Keys, see below; as i64 for all types.
    i64 min;
    i64 max;
    double sum;
    u64 nan;
    u64 infinite;
};
static_assert(sizeof(Partial) == 40);

// Of the two pairs of extremes the one is written that the kernel's name says.
struct Statistics {
    i64 min_integer;
    i64 max_integer;
    float min;
    float max;
    float mean;
    u32 unused;
    u64 nan;
    u64 infinite;
};
static_assert(sizeof(Statistics) == 48);

// The bits of a float, with those of the magnitude flipped under a set sign, are ordered as the floats are: NaN lie at
// both ends. Done twice it gives the bits back.
__device__ inline i32 flipped(i32 bits) { return bits ^ (bits >> 31 & 0x7fffffff); }

template <class T>
__device__ void add_float(Partial& partial, T element) {
    const float value = to_float(element);
    const i32 key = flipped(static_cast<i32>(to_bits(value)));
    partial.min = key < partial.min ? key : partial.min;
    partial.max = key > partial.max ? key : partial.max;
    const u32 magnitude = to_bits(value) & 0x7fffffffu;
    partial.nan += magnitude > 0x7f800000u;
    partial.infinite += magnitude == 0x7f800000u;
    // Where an element is not finite, the sum is not asked for.
    partial.sum += value;
}

template <class T>
__device__ void add_integer(Partial& partial, T element) {
    partial.min = element < partial.min ? element : partial.min;
    partial.max = element > partial.max ? element : partial.max;
    partial.sum += to_float(element);
}

__device__ inline void add(Partial& partial, double x) { add_float(partial, x); }
__device__ inline void add(Partial& partial, float x) { add_float(partial, x); }
__device__ inline void add(Partial& partial, f16 x) { add_float(partial, x); }
__device__ inline void add(Partial& partial, bf16 x) { add_float(partial, x); }
__device__ inline void add(Partial& partial, e4m3 x) { add_float(partial, x); }
__device__ inline void add(Partial& partial, e5m2 x) { add_float(partial, x); }
__device__ inline void add(Partial& partial, i8 x) { add_integer(partial, x); }
__device__ inline void add(Partial& partial, u8 x) { add_integer(partial, x); }
__device__ inline void add(Partial& partial, i16 x) { add_integer(partial, x); }
__device__ inline void add(Partial& partial, i32 x) { add_integer(partial, x); }
__device__ inline void add(Partial& partial, i64 x) { add_integer(partial, x); }

__device__ inline Partial nothing() {
    constexpr i64 largest = 0x7fffffffffffffffll;
    return {largest, -largest - 1, 0.0, 0, 0};
}

__device__ inline void merge(Partial& into, const Partial& other) {
    into.min = other.min < into.min ? other.min : into.min;
    into.max = other.max > into.max ? other.max : into.max;
    into.sum += other.sum;
    into.nan += other.nan;
    into.infinite += other.infinite;
}

// Merges what the threads of a block have; the first of them gets all of it.
__device__ inline Partial merged(Partial partial) {
    __shared__ Partial partials[max_threads];
    partials[threadIdx.x] = partial;
    for (u32 half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) merge(partials[threadIdx.x], partials[threadIdx.x + half]);
    }
    return partials[threadIdx.x];
}

// The place of an element in the storage, of its number in row-major order.
__device__ inline u64 place_of(const View& view, u64 number) {
    u64 place = 0;
    for (u64 dim = view.dims; dim-- > 0;) {
        place += number % view.shape[dim] * view.strides[dim];
        number /= view.shape[dim];
    }
    return place;
}

template <class T>
__device__ void add_all(Partial& partial, const T* data, const View& view) {
    const u64 step = static_cast<u64>(gridDim.x) * blockDim.x;
    const u64 first = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (view.dims > 0) {
        for (u64 number = first; number < view.count; number += step) add(partial, data[place_of(view, number)]);
        return;
    }
    u64 done = 0;
    if (is_aligned(data)) {
        const u64 packs = view.count / Pack<T>::size;
        for (u64 number = first; number < packs; number += step) {
            const Pack<T> pack = load_pack(data, number);
            for (u32 i = 0; i < Pack<T>::size; ++i) add(partial, pack.elements[i]);
        }
        done = packs * Pack<T>::size;
    }
    for (u64 number = done + first; number < view.count; number += step) add(partial, data[number]);
}

#define STATISTICS(name, T)                                                                      \
    extern "C" __global__ void name(const T* data, View view, Partial* partials) {               \
        Partial partial = nothing();                                                             \
        add_all(partial, data, view);                                                            \
        partial = merged(partial);                                                               \
        if (threadIdx.x == 0) partials[blockIdx.x] = partial;                                    \
    }

STATISTICS(statistics_partial_f64, double)
STATISTICS(statistics_partial_f32, float)
STATISTICS(statistics_partial_f16, f16)
STATISTICS(statistics_partial_bf16, bf16)
STATISTICS(statistics_partial_e4m3, e4m3)
STATISTICS(statistics_partial_e5m2, e5m2)
STATISTICS(statistics_partial_i64, i64)
STATISTICS(statistics_partial_i32, i32)
STATISTICS(statistics_partial_i16, i16)
STATISTICS(statistics_partial_i8, i8)
STATISTICS(statistics_partial_u8, u8)

__device__ inline Partial merged_partials(const Partial* partials, u32 n_partials) {
    Partial partial = nothing();
    for (u32 i = threadIdx.x; i < n_partials; i += blockDim.x) merge(partial, partials[i]);
    return merged(partial);
}

// `count` is the number of elements, at least one.
extern "C" __global__ void statistics_finish_float(const Partial* partials, u32 n_partials, u64 count,
                                                   Statistics* statistics) {
    const Partial all = merged_partials(partials, n_partials);
    if (threadIdx.x > 0) return;
    Statistics result = {};
    result.nan = all.nan;
    result.infinite = all.infinite;
    if (all.nan > 0) {
        result.min = result.max = result.mean = from_bits(0x7fc00000u);
    } else {
        result.min = from_bits(static_cast<u32>(flipped(static_cast<i32>(all.min))));
        result.max = from_bits(static_cast<u32>(flipped(static_cast<i32>(all.max))));
        // One infinity goes through a sum, two different ones are NaN.
        const float mean = static_cast<float>(all.sum) / static_cast<float>(count);
        result.mean = all.infinite > 0 ? result.min + result.max : mean;
    }
    *statistics = result;
}

extern "C" __global__ void statistics_finish_integer(const Partial* partials, u32 n_partials, u64 count,
                                                     Statistics* statistics) {
    const Partial all = merged_partials(partials, n_partials);
    if (threadIdx.x > 0) return;
    Statistics result = {};
    result.min_integer = all.min;
    result.max_integer = all.max;
    result.mean = static_cast<float>(all.sum) / static_cast<float>(count);
    *statistics = result;
}
