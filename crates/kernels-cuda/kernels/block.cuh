// What the threads of a block do together. Blocks are whole warps.
#pragma once

#include "planted.cuh"
#include "types.cuh"

constexpr u32 warp_size = 32;
constexpr u32 all_lanes = 0xffffffffu;

#ifdef CALLBOX_EMULATION
#define UNROLL
#define KEEP_LOOP
#define DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(callbox::dynamic_shared())
#else
// Before a loop of few rounds over an array: only then can the array lie in registers.
#define UNROLL _Pragma("unroll")
// Before a loop whose rounds are long: code that is not repeated compiles sooner.
#define KEEP_LOOP _Pragma("unroll 1")
// Memory whose size the launch says, as elements of T.
#define DYNAMIC_SHARED(T, name)                                  \
    extern __shared__ __align__(16) unsigned char name##_bytes[]; \
    T* const name = reinterpret_cast<T*>(name##_bytes)
#endif

__device__ inline float warp_sum(float value) {
    for (int step = warp_size / 2; step > 0; step /= 2) value += __shfl_xor_sync(all_lanes, value, step);
    return value;
}

__device__ inline float warp_max(float value) {
    for (int step = warp_size / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(all_lanes, value, step));
    return value;
}

// The sum over all threads of a one-dimensional block, for each of them.
__device__ inline float block_sum(float value) {
    __shared__ float sums[warp_size];
    const u32 lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
    value = warp_sum(value);
    if (lane == 0) sums[warp] = value;
    if (!PLANTED(BUG_MISSING_BARRIER)) __syncthreads();
    value = warp_sum(lane < blockDim.x / warp_size ? sums[lane] : 0.0f);
    // Until all have read, no later sum may be written.
    __syncthreads();
    return value;
}
