// Rotary embedding of heads; see `rotation.cuh` for the formula. Angles are rounded to f32 before their cosine is taken.
//
// `input` and `out` are [tokens, heads, width] with neighbouring elements in a head; they may be the same memory. Queries
// and keys are a launch each. Only the first `rotary_dim` elements of a head turn, the others are copied. A block per
// token: grid [tokens], any block of one dimension.
#include "rotation.cuh"

// What all three kernels need.
struct Heads {
    const void* input;
    void* out;
    // In elements.
    i64 input_token_stride;
    i64 input_head_stride;
    i64 out_token_stride;
    i64 out_head_stride;
    u32 n_heads;
    u32 width;
    u32 rotary_dim;
    // 1: pairs are neighbours (x[2i], x[2i+1]); 0: they are (x[i], x[i + rotary_dim/2]).
    u32 interleave;
    // 1: positions, offsets and bounds are int64; 0: int32.
    u32 wide;
    u32 unused;
};
static_assert(sizeof(Heads) == 72);

__device__ inline i64 integer_at(const void* integers, u64 place, u32 wide) {
    return wide ? static_cast<const i64*>(integers)[place] : static_cast<const i32*>(integers)[place];
}

// Turns all heads of the block's token; `turning(pair, cosine, sine)` says how far a pair turns.
template <class T, class Turning>
__device__ void turn_token(const Heads& heads, Turning turning) {
    const T* input = static_cast<const T*>(heads.input) + blockIdx.x * heads.input_token_stride;
    T* out = static_cast<T*>(heads.out) + blockIdx.x * heads.out_token_stride;
    const u32 pairs = heads.rotary_dim / 2;
    // Places of a head: its pairs, then its elements that stay.
    const u32 places = heads.width - pairs;
    for (u32 item = threadIdx.x; item < heads.n_heads * places; item += blockDim.x) {
        const u32 head = item / places, place = item % places;
        const T* from = input + head * heads.input_head_stride;
        T* to = out + head * heads.out_head_stride;
        if (place >= pairs) {
            to[place + pairs] = from[place + pairs];
            continue;
        }
        const u32 first = heads.interleave ? 2 * place : place;
        const u32 second = heads.interleave ? 2 * place + 1 : place + pairs;
        float a = to_float(from[first]), b = to_float(from[second]), cosine, sine;
        turning(place, cosine, sine);
        turn(a, b, cosine, sine);
        to[first] = from_float<T>(a);
        to[second] = from_float<T>(b);
    }
}

template <class T>
__device__ void turn_by_position(const Heads& heads, const Frequencies& frequencies, float position) {
    turn_token<T>(heads, [&](u32 pair, float& cosine, float& sine) {
        const float angle = position * frequency_of(frequencies, pair, heads.rotary_dim);
        cosine = cosf(angle);
        sine = sinf(angle);
    });
}

// The position of a token of a segment is that segment's offset plus its place in it; outside of all it is 0.
// `indptr` [n_segments + 1] does not decrease.
__device__ inline i64 position_in_segment(const void* indptr, const void* offsets, u32 n_segments, u32 wide, i64 token) {
    // Finds the first segment that ends behind the token.
    u32 low = 0, high = n_segments;
    while (low < high) {
        const u32 middle = (low + high) / 2;
        if (integer_at(indptr, middle + 1, wide) > token) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    if (low == n_segments || token < integer_at(indptr, low, wide)) return 0;
    return integer_at(offsets, low, wide) + token - integer_at(indptr, low, wide);
}

#define ROPE(suffix, T)                                                                                              \
    extern "C" __global__ void apply_rope_##suffix(Heads heads, Frequencies frequencies, const void* indptr,         \
                                                   const void* offsets, u32 n_segments) {                            \
        const i64 position = position_in_segment(indptr, offsets, n_segments, heads.wide, blockIdx.x);               \
        turn_by_position<T>(heads, frequencies, static_cast<float>(position));                                       \
    }                                                                                                                \
    extern "C" __global__ void apply_rope_pos_ids_##suffix(Heads heads, Frequencies frequencies,                     \
                                                           const void* pos_ids) {                                    \
        const i64 position = integer_at(pos_ids, blockIdx.x, heads.wide);                                            \
        turn_by_position<T>(heads, frequencies, static_cast<float>(position));                                       \
    }                                                                                                                \
    /* `cache` [.., rotary_dim]: for each position the cosines of all pairs, then their sines. */                    \
    extern "C" __global__ void apply_rope_with_cos_sin_cache_##suffix(Heads heads, const void* positions,            \
                                                                      const float* cache) {                          \
        const float* row = cache + integer_at(positions, blockIdx.x, heads.wide) * heads.rotary_dim;                 \
        turn_token<T>(heads, [&](u32 pair, float& cosine, float& sine) {                                             \
            cosine = row[pair];                                                                                      \
            sine = row[heads.rotary_dim / 2 + pair];                                                                 \
        });                                                                                                          \
    }

ROPE(f16, f16)
ROPE(bf16, bf16)
ROPE(f32, float)
