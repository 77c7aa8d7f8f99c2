// What the kernels need of CUDA, for a compiler of host C++.
//
// Each CUDA thread is a fiber (fibers.cpp) or a thread of its own (threads.cpp, where CALLBOX_THREADS is defined). The
// mathematical functions are those of the C library: exact to the last place or nearly so, as a GPU's are not.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>

#define CALLBOX_EMULATION 1

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)
#define __noinline__

#ifdef CALLBOX_THREADS
#define CALLBOX_OWN thread_local
#else
// The scheduler sets these before it lets a fiber go on; launches come one at a time.
#define CALLBOX_OWN
#endif

struct uint3 {
    unsigned x, y, z;
};
using dim3 = uint3;

extern CALLBOX_OWN uint3 threadIdx;
extern CALLBOX_OWN uint3 blockIdx;
extern CALLBOX_OWN dim3 blockDim;
extern CALLBOX_OWN dim3 gridDim;

namespace callbox {

using Place = std::source_location;

// Memory of the block, as many bytes as the launch says.
void* dynamic_shared();
// Waits for all threads of the block.
void block_barrier(Place place);
// Waits for all lanes of the warp.
void warp_barrier(unsigned mask, Place place);
// Waits for all lanes of the warp; each gives `size` bytes, at most eight, and takes those of the lane `from`.
void exchange(unsigned mask, const void* given, void* taken, size_t size, unsigned from, Place place);

inline unsigned lane() {
    return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
}

template <class T>
T shuffle(unsigned mask, T value, unsigned from, Place place) {
    static_assert(sizeof(T) <= 8);
    T taken;
    exchange(mask, &value, &taken, sizeof(T), from, place);
    return taken;
}

}  // namespace callbox

inline void __syncthreads(callbox::Place place = callbox::Place::current()) { callbox::block_barrier(place); }

inline void __syncwarp(unsigned mask = 0xffffffffu, callbox::Place place = callbox::Place::current()) {
    callbox::warp_barrier(mask, place);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int from, callbox::Place place = callbox::Place::current()) {
    return callbox::shuffle(mask, value, static_cast<unsigned>(from) % 32, place);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int flipped, callbox::Place place = callbox::Place::current()) {
    return callbox::shuffle(mask, value, callbox::lane() ^ static_cast<unsigned>(flipped), place);
}

// A lane whose partner lies beyond the warp keeps its own value.
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned step, callbox::Place place = callbox::Place::current()) {
    const unsigned lane = callbox::lane();
    return callbox::shuffle(mask, value, lane + step < 32 ? lane + step : lane, place);
}

inline unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float __uint_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
