// Attention of queries to keys and values that lie side by side or in pages: single and batched, decode and prefill.
//
// For row i of n and key j of a sequence, and each query head:
//
//     x[i,j] = dot(q[i], k[j]) * sm_scale * q_scale * k_scale
//     x[i,j] = x[i,j] + slope * (j - i)                 with ALIBI
//     x[i,j] = cap * tanh(x[i,j] / cap)                 with a soft cap
//     w[i,j] = exp(x[i,j]) where j is visible to i, else 0
//     o[i]   = sum_j w[i,j] * v[j] * v_scale / (sum_j w[i,j] + exp(sink))
//     lse[i] = log2(sum_j w[i,j] + exp(sink))
//
// With ROPE_LLAMA queries and keys turn by their places among the keys first. A row that sees nothing gives 0 and -inf;
// a key that a row does not see never reaches it, not even where it is infinite or NaN. All is computed in f32, with a
// softmax that is corrected as keys come in (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018),
// and rounded once.
//
// Grid [batch * row_tiles, kv_heads], any block of one dimension; shared memory as `Shared` lays it out. Tiles of 16 rows
// and 16 keys take 34 kB of it where heads have 128 elements; beyond 48 kB a launch has to ask for it.
#include "attention.cuh"
#include "block.cuh"
#include "rotation.cuh"

// What the threads of a block share, in floats one behind the other:
// tile_rows * (head_dim + head_dim_vo + tile_keys + 3) + tile_keys * ((head_dim | 1) + head_dim_vo) + head_dim / 2.
struct Shared {
    // [tile_rows, head_dim]
    float* queries;
    // [tile_keys, key_pitch]: of odd length, so that lanes that read a column each are served by banks of their own.
    float* keys;
    u32 key_pitch;
    // [tile_keys, head_dim_vo]
    float* values;
    // [tile_rows, head_dim_vo]: the sums of w * v so far, with w relative to the greatest logit so far.
    float* sums;
    // [tile_rows, tile_keys]: logits, then weights.
    float* weights;
    // [tile_rows] each: the greatest logit, the sum of weights, and what earlier sums are multiplied by.
    float* max;
    float* total;
    float* correction;
    // [head_dim / 2]
    float* frequencies;

    __device__ Shared(const Attention& a, float* memory) {
        key_pitch = a.head_dim | 1;
        queries = memory;
        keys = queries + a.tile_rows * a.head_dim;
        values = keys + a.tile_keys * key_pitch;
        sums = values + a.tile_keys * a.head_dim_vo;
        weights = sums + a.tile_rows * a.head_dim_vo;
        max = weights + a.tile_rows * a.tile_keys;
        total = max + a.tile_rows;
        correction = total + a.tile_rows;
        frequencies = correction + a.tile_rows;
    }
};

__device__ inline void read_queries(const Attention& a, const Part& part, const Shared& shared) {
    for (u32 item = threadIdx.x; item < part.n_rows * a.head_dim; item += blockDim.x) {
        const u32 row = item / a.head_dim, element = item % a.head_dim;
        const i64 query = static_cast<i64>(part.first_query) + part.query_of(row);
        const i64 place = query * a.q_row_stride + part.head_of(row) * a.q_head_stride + element;
        shared.queries[item] = load(a.queries, place, a.query_type);
    }
    for (u32 item = threadIdx.x; item < part.n_rows * a.head_dim_vo; item += blockDim.x) shared.sums[item] = 0.0f;
    for (u32 row = threadIdx.x; row < part.n_rows; row += blockDim.x) {
        shared.max[row] = -infinity();
        shared.total[row] = 0.0f;
    }
    if (a.encoding != Encoding::rope_llama) return;
    const Frequencies frequencies = {a.rope_theta, a.rope_scale, 0.0f, 0.0f, 0.0f};
    for (u32 pair = threadIdx.x; pair < a.head_dim / 2; pair += blockDim.x) {
        shared.frequencies[pair] = frequency_of(frequencies, pair, a.head_dim);
    }
}

// Reads keys [start, start + count) and their values; a warp per token.
template <class T>
__device__ void read_tokens(const Attention& a, const Part& part, const Shared& shared, i32 start, u32 count) {
    const u32 lane = threadIdx.x % warp_size;
    const u32 kv_head = PLANTED(BUG_WRONG_HEAD) ? (part.kv_head + 1) % a.kv_heads : part.kv_head;
    for (u32 token = threadIdx.x / warp_size; token < count; token += blockDim.x / warp_size) {
        i64 page, slot;
        part.place_of(a, start + static_cast<i32>(token), page, slot);
        const T* key = static_cast<const T*>(a.keys) + page * a.k_page_stride + slot * a.k_slot_stride +
                       kv_head * a.k_head_stride;
        const T* value = static_cast<const T*>(a.values) + page * a.v_page_stride + slot * a.v_slot_stride +
                         part.kv_head * a.v_head_stride;
        for (u32 i = lane; i < a.head_dim; i += warp_size) shared.keys[token * shared.key_pitch + i] = to_float(key[i]);
        for (u32 i = lane; i < a.head_dim_vo; i += warp_size) {
            shared.values[token * a.head_dim_vo + i] = to_float(value[i]);
        }
    }
}

// Turns vectors of head_dim elements, halves paired; `position(vector)` is where one stands.
template <class Position>
__device__ void turn_vectors(const Attention& a, const Shared& shared, float* vectors, u32 pitch, u32 count,
                             Position position) {
    const u32 pairs = a.head_dim / 2;
    for (u32 item = threadIdx.x; item < count * pairs; item += blockDim.x) {
        const u32 vector = item / pairs, pair = item % pairs;
        float* first = vectors + vector * pitch + pair;
        const float angle = static_cast<float>(position(vector)) * shared.frequencies[pair];
        turn(first[0], first[pairs], cosf(angle), sinf(angle));
    }
}

// The logit of a row and a key of the tile; -inf where the row does not see it.
__device__ inline float logit_of(const Attention& a, const Part& part, const Shared& shared, u32 row, u32 column,
                                 i32 key) {
    const i32 query = part.query_of(row);
    if (!part.sees(a, query, key)) return -infinity();
    const float *q = shared.queries + row * a.head_dim, *k = shared.keys + column * shared.key_pitch;
    float product = 0.0f;
    for (u32 i = 0; i < a.head_dim; ++i) product += q[i] * k[i];
    const u32 head = part.head_of(row);
    float scale = a.sm_scale;
    if (a.q_scales) scale *= a.q_scales[head];
    if (a.k_scales) scale *= a.k_scales[part.kv_head];
    float logit = product * scale;
    if (a.encoding == Encoding::alibi) {
        logit += alibi_slope(head, a.qo_heads) * (static_cast<float>(key) - static_cast<float>(query));
    }
    return a.soft_cap > 0.0f ? a.soft_cap * tanhf(logit / a.soft_cap) : logit;
}

// Turns the logits of a tile into weights; a warp per row.
__device__ inline void weigh(const Part& part, const Shared& shared, u32 pitch, u32 n_keys) {
    const u32 lane = threadIdx.x % warp_size;
    for (u32 row = threadIdx.x / warp_size; row < part.n_rows; row += blockDim.x / warp_size) {
        float* weights = shared.weights + row * pitch;
        const float old_max = shared.max[row];
        float max = old_max;
        for (u32 i = lane; i < n_keys; i += warp_size) max = fmaxf(max, weights[i]);
        max = warp_max(max);
        // Before the first key there is nothing to subtract: exp(-inf - 0) is the 0 that is wanted.
        const float shift = max == -infinity() ? 0.0f : max;
        float total = 0.0f;
        for (u32 i = lane; i < n_keys; i += warp_size) total += weights[i] = expf(weights[i] - shift);
        total = warp_sum(total);
        if (lane > 0) continue;
        const float correction = max == old_max ? 1.0f : expf(old_max - shift);
        shared.correction[row] = correction;
        shared.total[row] = shared.total[row] * correction + total;
        shared.max[row] = max;
    }
}

__device__ inline void add_values(const Attention& a, const Part& part, const Shared& shared, u32 n_keys) {
    for (u32 item = threadIdx.x; item < part.n_rows * a.head_dim_vo; item += blockDim.x) {
        const u32 row = item / a.head_dim_vo, element = item % a.head_dim_vo;
        const float* weights = shared.weights + row * a.tile_keys;
        float sum = shared.sums[item] * shared.correction[row];
        for (u32 i = 0; i < n_keys; ++i) {
            // Not a product with 0: that of an infinite value is NaN.
            if (weights[i] != 0.0f) sum += weights[i] * shared.values[i * a.head_dim_vo + element];
        }
        shared.sums[item] = sum;
    }
}

// Adds the sinks; leaves in `correction` what the sums are to be multiplied by, and writes the log-sum-exp.
__device__ inline void finish_rows(const Attention& a, const Part& part, const Shared& shared) {
    for (u32 row = threadIdx.x; row < part.n_rows; row += blockDim.x) {
        const u32 head = part.head_of(row);
        float max = shared.max[row], total = shared.total[row], correction = 1.0f;
        if (a.sinks) {
            const float sink = a.sinks[head], both = fmaxf(max, sink);
            const float shift = both == -infinity() ? 0.0f : both;
            if (both != max) correction = expf(max - shift);
            total = total * correction + expf(sink - shift);
            max = both;
        }
        float scale = a.v_scale;
        if (a.v_scales) scale *= a.v_scales[part.kv_head];
        const bool empty = total == 0.0f;
        shared.correction[row] = empty ? 0.0f : correction * (scale / total);
        if (!a.lse) continue;
        const i64 query = static_cast<i64>(part.first_query) + part.query_of(row);
        a.lse[query * a.qo_heads + head] = empty ? -infinity() : (max + logf(total)) * 1.4426950f;
    }
}

__device__ inline void write_out(const Attention& a, const Part& part, const Shared& shared) {
    for (u32 item = threadIdx.x; item < part.n_rows * a.head_dim_vo; item += blockDim.x) {
        const u32 row = item / a.head_dim_vo, element = item % a.head_dim_vo;
        const i64 query = static_cast<i64>(part.first_query) + part.query_of(row);
        const i64 place = (query * a.qo_heads + part.head_of(row)) * a.head_dim_vo + element;
        store(a.out, place, a.out_type, shared.sums[item] * shared.correction[row]);
    }
}

template <class T>
__device__ void attend(const Attention& a) {
    DYNAMIC_SHARED(float, memory);
    const Part part(a);
    // The whole block goes: no thread of it waits for another.
    if (part.n_rows == 0) return;
    const Shared shared(a, memory);
    read_queries(a, part, shared);
    __syncthreads();
    if (a.encoding == Encoding::rope_llama) {
        // A query before the first key stands at a negative place.
        const i32 first = part.n_keys - part.n_queries;
        turn_vectors(a, shared, shared.queries, a.head_dim, part.n_rows,
                     [&](u32 row) { return first + part.query_of(row); });
        __syncthreads();
    }
    // Both ends of what is seen grow with the query.
    i32 begin, end, unused;
    part.bounds_of(a, part.query_of(0), begin, unused);
    part.bounds_of(a, part.query_of(part.n_rows - 1), unused, end);
    for (i32 start = begin; start < end; start += static_cast<i32>(a.tile_keys)) {
        const u32 rest = static_cast<u32>(end - start), n_keys = rest < a.tile_keys ? rest : a.tile_keys;
        read_tokens<T>(a, part, shared, start, n_keys);
        __syncthreads();
        if (a.encoding == Encoding::rope_llama) {
            turn_vectors(a, shared, shared.keys, shared.key_pitch, n_keys,
                         [&](u32 key) { return start + static_cast<i32>(key); });
            __syncthreads();
        }
        for (u32 item = threadIdx.x; item < part.n_rows * n_keys; item += blockDim.x) {
            const u32 row = item / n_keys, column = item % n_keys;
            const float logit = logit_of(a, part, shared, row, column, start + static_cast<i32>(column));
            shared.weights[row * a.tile_keys + column] = logit;
        }
        __syncthreads();
        weigh(part, shared, a.tile_keys, n_keys);
        __syncthreads();
        add_values(a, part, shared, n_keys);
        // Until all have added, no later tile may be read.
        __syncthreads();
    }
    finish_rows(a, part, shared);
    __syncthreads();
    write_out(a, part, shared);
}

#define ATTENTION(name, T) \
    extern "C" __global__ void name(Attention attention) { attend<T>(attention); }

ATTENTION(attention_f16, f16)
ATTENTION(attention_bf16, bf16)
ATTENTION(attention_f32, float)
ATTENTION(attention_e4m3, e4m3)
ATTENTION(attention_e5m2, e5m2)
