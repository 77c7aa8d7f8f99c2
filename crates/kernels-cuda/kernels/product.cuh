// The product of two matrices by tiles, whatever their elements are stored as.
#pragma once

#include "block.cuh"
#include "types.cuh"

// A block of 16 x 16 threads computes a tile of 64 x 64 elements, 4 x 4 a thread, from 16 of k at a time.
constexpr u32 product_threads = 16;
constexpr u32 product_tile = 64;
constexpr u32 product_depth = 16;
constexpr u32 product_share = product_tile / product_threads;

// [depth, tile] of a factor; one more column, so that threads that store a column each use banks of their own.
using ProductTile = float[product_depth][product_tile + 1];

// Fills a tile with elements of k from `first_k` and lines from `first_line` on, where a line is a row of the left
// factor or a column of the right one; zeros stand beyond the ends. `k_first`: neighbours of k lie next to each other.
template <class Element>
__device__ void fill_tile(ProductTile& tile, u32 first_line, u32 n_lines, u32 first_k, u32 k, bool k_first,
                          Element element) {
    const u32 thread = threadIdx.y * product_threads + threadIdx.x;
    KEEP_LOOP
    for (u32 item = thread; item < product_tile * product_depth; item += product_threads * product_threads) {
        const u32 line = k_first ? item / product_depth : item % product_tile;
        const u32 depth = k_first ? item % product_depth : item / product_tile;
        const bool inside = first_line + line < n_lines && first_k + depth < k;
        tile[depth][line] = inside ? element(first_line + line, first_k + depth) : 0.0f;
    }
}

// Computes the block's tile of a product `[m, n]`; sums are in f32. `left(row, k)` and `right(column, k)` are elements of
// the factors, and `write(row, column, sum)` takes the result. Blocks x count columns, blocks y rows.
template <class Left, class Right, class Write>
__device__ void multiply(u32 m, u32 n, u32 k, bool left_k_first, bool right_k_first, Left left, Right right,
                         Write write) {
    __shared__ ProductTile left_tile, right_tile;
    const u32 first_row = blockIdx.y * product_tile, first_column = blockIdx.x * product_tile;
    float sums[product_share][product_share] = {};
    for (u32 first_k = 0; first_k < k; first_k += product_depth) {
        fill_tile(left_tile, first_row, m, first_k, k, left_k_first, left);
        fill_tile(right_tile, first_column, n, first_k, k, right_k_first, right);
        __syncthreads();
        for (u32 depth = 0; depth < product_depth; ++depth) {
            float rows[product_share], columns[product_share];
            UNROLL
            for (u32 i = 0; i < product_share; ++i) {
                rows[i] = left_tile[depth][threadIdx.y + i * product_threads];
                columns[i] = right_tile[depth][threadIdx.x + i * product_threads];
            }
            UNROLL
            for (u32 i = 0; i < product_share; ++i) {
                UNROLL
                for (u32 j = 0; j < product_share; ++j) sums[i][j] += rows[i] * columns[j];
            }
        }
        // Until all have read, no later tile may be filled.
        __syncthreads();
    }
    UNROLL
    for (u32 i = 0; i < product_share; ++i) {
        UNROLL
        for (u32 j = 0; j < product_share; ++j) {
            const u32 row = first_row + threadIdx.y + i * product_threads;
            const u32 column = first_column + threadIdx.x + j * product_threads;
            if (row < m && column < n) write(row, column, sums[i][j]);
        }
    }
}
