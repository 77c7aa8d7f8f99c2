// What one launch of attention is told: `Attention`, by value, and how a block finds its part of it.
#pragma once

#include "types.cuh"

enum class Encoding : u32 { none = 0, rope_llama = 1, alibi = 2 };

// Pointers are to device memory; null where something is absent. Strides count elements; the elements of a vector are
// neighbours. The launching side lays the fields out in this order.
struct Attention {
    // [rows, qo_heads, head_dim] of `query_type`.
    const void* queries;
    // A vector for each page, slot and kv head: of head_dim elements of the kernel's type, and of head_dim_vo.
    const void* keys;
    const void* values;
    // [rows, qo_heads, head_dim_vo], row-major, of `out_type`.
    void* out;
    // [rows, qo_heads], row-major, to base 2; or null.
    float* lse;

    // [batch + 1]: the rows of each sequence.
    const i32* qo_indptr;
    // [batch + 1]: the pages of each sequence among `kv_indices`; without pages its tokens, which are slots of one page.
    const i32* kv_indptr;
    // Pages in any order; null where `page_size` is 0.
    const i32* kv_indices;
    // [batch]: tokens of the last page; without meaning for a sequence that has no page.
    const i32* last_page_len;

    // Bits [queries, keys] of each sequence, least significant first, set where the query sees the key; or null.
    const u8* mask;
    // [batch]: the first byte of each sequence's bits.
    const i64* mask_starts;
    // [qo_heads]: logits of a key without a value; or null.
    const float* sinks;
    // [qo_heads], [kv_heads], [kv_heads]: factors of heads; or null.
    const float* q_scales;
    const float* k_scales;
    const float* v_scales;

    i64 q_row_stride;
    i64 q_head_stride;
    i64 k_page_stride;
    i64 k_slot_stride;
    i64 k_head_stride;
    i64 v_page_stride;
    i64 v_slot_stride;
    i64 v_head_stride;
    // Keys before and behind its own place that a query sees; negative: all. A causal query sees none behind.
    i64 window_left;
    i64 window_right;

    // Tokens of a page; 0: there are no pages.
    u32 page_size;
    u32 qo_heads;
    // Divides `qo_heads`; neighbouring query heads share a kv head.
    u32 kv_heads;
    u32 head_dim;
    u32 head_dim_vo;
    Type query_type;
    Type out_type;
    Encoding encoding;
    float rope_theta;
    float rope_scale;
    // Multiplies the products of queries and keys; with all factors that are not per head.
    float sm_scale;
    float v_scale;
    // Logits are bent to cap * tanh(logit / cap); 0: they are not.
    float soft_cap;

    // Rows, each a query and one of the heads that share a kv head, that a block works on; and keys at a time.
    u32 tile_rows;
    u32 tile_keys;
    // Tiles of the sequence that has most; block x is a tile of sequence x / row_tiles.
    u32 row_tiles;
};
static_assert(sizeof(Attention) == 264);

// A block's part: rows of one sequence and one kv head. Row r is query r / group, and head r % group of the group.
struct Part {
    u32 sequence;
    u32 kv_head;
    u32 group;
    // Rows of the queries before the sequence, and of the sequence.
    i32 first_query;
    i32 n_queries;
    i32 n_keys;
    // The first page, or token, of the sequence.
    i32 kv_start;
    u32 first_row;
    u32 n_rows;

    __device__ explicit Part(const Attention& a) {
        sequence = blockIdx.x / a.row_tiles;
        kv_head = blockIdx.y;
        group = a.qo_heads / a.kv_heads;
        first_query = a.qo_indptr[sequence];
        n_queries = a.qo_indptr[sequence + 1] - first_query;
        kv_start = a.kv_indptr[sequence];
        n_keys = a.kv_indptr[sequence + 1] - kv_start;
        if (a.page_size > 0 && n_keys > 0) {
            n_keys = (n_keys - 1) * static_cast<i32>(a.page_size) + a.last_page_len[sequence];
        }
        first_row = blockIdx.x % a.row_tiles * a.tile_rows;
        const u32 end = static_cast<u32>(n_queries) * group;
        const u32 rest = first_row < end ? end - first_row : 0;
        n_rows = rest < a.tile_rows ? rest : a.tile_rows;
    }

    __device__ i32 query_of(u32 row) const { return static_cast<i32>((first_row + row) / group); }
    __device__ u32 head_of(u32 row) const { return kv_head * group + (first_row + row) % group; }

    // The keys [start, end) that a query sees, a mask aside. Query i of n stands at the place of key i + n_keys - n.
    __device__ void bounds_of(const Attention& a, i32 query, i32& start, i32& end) const {
        const i64 own = static_cast<i64>(query) + n_keys - n_queries, last = n_keys;
        const i64 first = a.window_left < 0 ? 0 : own - a.window_left;
        const i64 behind = a.window_right < 0 ? last : own + a.window_right + 1;
        start = static_cast<i32>(first < 0 ? 0 : first < last ? first : last);
        end = static_cast<i32>(behind < start ? start : behind < last ? behind : last);
    }

    __device__ bool sees(const Attention& a, i32 query, i32 key) const {
        i32 start, end;
        bounds_of(a, query, start, end);
        if (key < start || key >= end) return false;
        if (!a.mask) return true;
        const i64 bit = static_cast<i64>(query) * n_keys + key;
        return a.mask[a.mask_starts[sequence] + bit / 8] >> (bit % 8) & 1;
    }

    // Where a token lies among the pages.
    __device__ void place_of(const Attention& a, i32 token, i64& page, i64& slot) const {
        if (a.page_size == 0) {
            page = 0;
            slot = static_cast<i64>(kv_start) + token;
            return;
        }
        const i32 page_size = static_cast<i32>(a.page_size);
        page = a.kv_indices[kv_start + token / page_size] + PLANTED(BUG_PAGE_OUT_OF_RANGE);
        slot = token % page_size;
    }
};

// The slope of a query head, one of `heads` (Press et al., "Train Short, Test Long", 2022): a geometric series over the
// greatest power of two of heads, and every other member of a series twice as dense for the heads that remain.
__device__ inline float alibi_slope(u32 head, u32 heads) {
    u32 power = 1;
    while (power * 2 <= heads) power *= 2;
    const float step = static_cast<float>(power);
    if (head < power) return exp2f(-8.0f * static_cast<float>(head + 1) / step);
    return exp2f(-4.0f * static_cast<float>(2 * (head - power) + 1) / step);
}
