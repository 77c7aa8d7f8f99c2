// Walking over rows of neighbouring elements, sixteen bytes at a time where they are aligned.
#pragma once

#include "types.cuh"

template <class T>
struct alignas(16) Pack {
    static constexpr u32 size = 16 / sizeof(T);
    T elements[size];
};

template <class T>
__device__ inline bool is_aligned(const T* row) {
    return reinterpret_cast<u64>(row) % sizeof(Pack<T>) == 0;
}

template <class T>
__device__ inline Pack<T> load_pack(const T* row, u64 pack) {
    return reinterpret_cast<const Pack<T>*>(row)[pack];
}

// Calls `visit` with each element of a row, shared out among the threads of a block.
template <class T, class Visit>
__device__ void for_each(const T* row, u32 width, Visit visit) {
    u32 done = 0;
    if (is_aligned(row)) {
        const u32 packs = width / Pack<T>::size;
        for (u32 pack = threadIdx.x; pack < packs; pack += blockDim.x) {
            const Pack<T> loaded = load_pack(row, pack);
            for (u32 i = 0; i < Pack<T>::size; ++i) visit(to_float(loaded.elements[i]));
        }
        done = packs * Pack<T>::size;
    }
    for (u32 place = done + threadIdx.x; place < width; place += blockDim.x) visit(to_float(row[place]));
}

// Writes `combine(one[i], other[i])`, rounded once, to `out[i]`, shared out among the threads of a block.
template <class T, class Combine>
__device__ void map_pairs(const T* one, const T* other, T* out, u32 width, Combine combine) {
    u32 done = 0;
    if (is_aligned(one) && is_aligned(other) && is_aligned(out)) {
        const u32 packs = width / Pack<T>::size;
        for (u32 pack = threadIdx.x; pack < packs; pack += blockDim.x) {
            const Pack<T> left = load_pack(one, pack), right = load_pack(other, pack);
            Pack<T> result;
            for (u32 i = 0; i < Pack<T>::size; ++i) {
                const float value = combine(to_float(left.elements[i]), to_float(right.elements[i]));
                result.elements[i] = from_float<T>(value);
            }
            reinterpret_cast<Pack<T>*>(out)[pack] = result;
        }
        done = packs * Pack<T>::size;
    }
    for (u32 place = done + threadIdx.x; place < width; place += blockDim.x) {
        out[place] = from_float<T>(combine(to_float(one[place]), to_float(other[place])));
    }
}
