// Codes to f32 and f32 to codes, element by element: with these the tests compare the types of `types.cuh` with the
// reference's on every rung. Grid and block of any one-dimensional size.
#include "types.cuh"

template <class T>
__device__ void decode(const T* codes, float* values, u64 count) {
    const u64 step = static_cast<u64>(gridDim.x) * blockDim.x;
    for (u64 place = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x; place < count; place += step) {
        values[place] = to_float(codes[place]);
    }
}

template <class T>
__device__ void encode(const float* values, T* codes, u64 count) {
    const u64 step = static_cast<u64>(gridDim.x) * blockDim.x;
    for (u64 place = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x; place < count; place += step) {
        codes[place] = from_float<T>(values[place]);
    }
}

// One code in the low bits of a byte: the converted types are our own structures, this one has none.
struct e2m1 {
    u8 bits;
};
__device__ inline float to_float(e2m1 x) { return e2m1_to_float(x.bits); }
template <>
__device__ inline e2m1 from_float<e2m1>(float x) {
    return {static_cast<u8>(e2m1_from_float(x))};
}

#define CONVERT(T)                                                                           \
    extern "C" __global__ void decode_##T(const T* codes, float* values, u64 count) { decode(codes, values, count); } \
    extern "C" __global__ void encode_##T(const float* values, T* codes, u64 count) { encode(values, codes, count); }

CONVERT(f16)
CONVERT(bf16)
CONVERT(e4m3)
CONVERT(e5m2)
CONVERT(e2m1)
