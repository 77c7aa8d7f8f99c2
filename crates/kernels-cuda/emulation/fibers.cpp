// CUDA threads as fibers: each runs until it waits for others, and goes on when all of them have come to the same place.
//
// Threads that wait at different places, or for one that has ended, would hang or worse on a device. Here the launch
// stops, and says which threads they were and where.
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "scheduler.h"
#include "shim.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace callbox {
namespace {

// The address sanitizer's frames are far larger; what no fiber touches costs nothing.
constexpr size_t stack_bytes = 256 * 1024;
constexpr unsigned warp_size = 32;

enum class State { ready, at_block_barrier, at_warp_barrier, ended };

struct Fiber {
    ucontext_t context;
    void* stack;
    uint3 index;
    State state;
    Place place;
};

// What the lanes of a warp give each other. Two rooms: a lane may come to the next exchange before others have taken
// from this one, but not to the one after that.
struct Exchange {
    uint64_t given[2][warp_size];
};

thread_local std::string fault;
std::mutex one_launch;

const Launch* launch;
ucontext_t scheduler;
std::vector<Fiber> fibers;
std::vector<Exchange> exchanges;
std::vector<unsigned> n_exchanges;
Fiber* current;
void* shared;

#ifdef __SANITIZE_ADDRESS__
const void* scheduler_stack;
size_t scheduler_stack_bytes;
#endif

void switch_to_scheduler(bool for_good) {
#ifdef __SANITIZE_ADDRESS__
    void* own = nullptr;
    __sanitizer_start_switch_fiber(for_good ? nullptr : &own, scheduler_stack, scheduler_stack_bytes);
#endif
    (void)for_good;
    swapcontext(&current->context, &scheduler);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(own, &scheduler_stack, &scheduler_stack_bytes);
#endif
}

void switch_to(Fiber& fiber) {
    current = &fiber;
    threadIdx = fiber.index;
#ifdef __SANITIZE_ADDRESS__
    void* own = nullptr;
    __sanitizer_start_switch_fiber(&own, fiber.stack, stack_bytes);
#endif
    swapcontext(&scheduler, &fiber.context);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(own, nullptr, nullptr);
#endif
}

void wait(State state, Place place) {
    current->state = state;
    current->place = place;
    switch_to_scheduler(false);
}

void begin() {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
    launch->body(launch->parameters);
    current->state = State::ended;
    switch_to_scheduler(true);
}

void* new_stack() {
    void* stack = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) abort();
    return stack;
}

// Makes the fibers of a block. Stacks are kept from launch to launch.
void begin_block(unsigned n_threads) {
    while (fibers.size() < n_threads) fibers.push_back(Fiber{{}, new_stack(), {}, State::ended, {}});
    const unsigned* size = launch->block;
    for (unsigned i = 0; i < n_threads; ++i) {
        Fiber& fiber = fibers[i];
        fiber.index = {i % size[0], i / size[0] % size[1], i / size[0] / size[1]};
        fiber.state = State::ready;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack;
        fiber.context.uc_stack.ss_size = stack_bytes;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, begin, 0);
    }
    const unsigned n_warps = (n_threads + warp_size - 1) / warp_size;
    exchanges.assign(n_warps, Exchange{});
    n_exchanges.assign(n_threads, 0);
}

std::string describe(const Fiber& fiber) {
    char text[512];
    const uint3 at = fiber.index;
    if (fiber.state == State::ended) {
        snprintf(text, sizeof text, "thread (%u, %u, %u) has ended", at.x, at.y, at.z);
    } else {
        const char* what = fiber.state == State::at_block_barrier ? "the block" : "its warp";
        const char* path = fiber.place.file_name();
        const char* slash = strrchr(path, '/');
        snprintf(text, sizeof text, "thread (%u, %u, %u) waits for %s at %s:%u", at.x, at.y, at.z, what,
                 slash ? slash + 1 : path, static_cast<unsigned>(fiber.place.line()));
    }
    return text;
}

void report_divergence(const Fiber& one, const Fiber& other) {
    char text[256];
    snprintf(text, sizeof text, "divergent barrier in kernel %s, block (%u, %u, %u): ", launch->name, blockIdx.x,
             blockIdx.y, blockIdx.z);
    fault = text + describe(one) + ", and " + describe(other);
}

bool waits_with(const Fiber& one, const Fiber& other) {
    if (one.state == State::ended) return other.state == State::ended;
    return one.state == other.state && one.place.line() == other.place.line() &&
           strcmp(one.place.file_name(), other.place.file_name()) == 0;
}

// Finds the first fiber of a range that does not wait where the first one of it waits.
const Fiber* straggler(unsigned first, unsigned end) {
    for (unsigned i = first; i < end; ++i) {
        if (!waits_with(fibers[first], fibers[i])) return &fibers[i];
    }
    return nullptr;
}

void release(unsigned first, unsigned end) {
    for (unsigned i = first; i < end; ++i) fibers[i].state = State::ready;
}

// Lets those go on that have all come; tells whether there were any. Otherwise the threads have diverged, or all ended.
bool release_waiting(unsigned n_threads) {
    bool released = false;
    for (unsigned first = 0; first < n_threads; first += warp_size) {
        const unsigned end = first + warp_size < n_threads ? first + warp_size : n_threads;
        if (fibers[first].state == State::at_warp_barrier && !straggler(first, end)) {
            release(first, end);
            released = true;
        }
    }
    if (released) return true;
    const bool together = !straggler(0, n_threads);
    if (together && fibers[0].state == State::at_block_barrier) {
        release(0, n_threads);
        return true;
    }
    return false;
}

// Finds two threads that keep each other waiting.
void find_fault(unsigned n_threads) {
    for (unsigned first = 0; first < n_threads; first += warp_size) {
        const unsigned end = first + warp_size < n_threads ? first + warp_size : n_threads;
        if (const Fiber* other = straggler(first, end)) return report_divergence(fibers[first], *other);
    }
    if (const Fiber* other = straggler(0, n_threads)) report_divergence(fibers[0], *other);
}

void run_block(unsigned n_threads) {
    begin_block(n_threads);
    do {
        for (unsigned i = 0; i < n_threads && fault.empty(); ++i) {
            if (fibers[i].state == State::ready) switch_to(fibers[i]);
        }
    } while (fault.empty() && release_waiting(n_threads));
    if (fault.empty()) find_fault(n_threads);
}

// A fault of one thread alone: it does not go on, and the block stops.
void stop(const std::string& text) {
    fault = std::string("kernel ") + launch->name + ": " + text;
    switch_to_scheduler(true);
}

}  // namespace

void* dynamic_shared() { return shared; }

void block_barrier(Place place) { wait(State::at_block_barrier, place); }

void warp_barrier(unsigned mask, Place place) {
    if (mask != 0xffffffffu) stop("only whole warps are emulated");
    wait(State::at_warp_barrier, place);
}

void exchange(unsigned mask, const void* given, void* taken, size_t size, unsigned from, Place place) {
    const size_t number = static_cast<size_t>(current - fibers.data());
    const unsigned room = n_exchanges[number]++ % 2;
    Exchange& exchange = exchanges[number / warp_size];
    memcpy(&exchange.given[room][number % warp_size], given, size);
    warp_barrier(mask, place);
    memcpy(taken, &exchange.given[room][from], size);
}

const char* last_fault() { return fault.empty() ? nullptr : fault.c_str(); }

void run(const Launch& asked) {
    const std::lock_guard<std::mutex> guard(one_launch);
    fault.clear();
    launch = &asked;
    const unsigned n_threads = asked.block[0] * asked.block[1] * asked.block[2];
    const unsigned* grid = asked.grid;
    if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || grid[0] > 0x7fffffff || grid[1] > 65535 || grid[2] > 65535) {
        fault = std::string("kernel ") + asked.name + ": no device takes a grid of this size";
        return;
    }
    if (n_threads == 0 || n_threads > 1024 || n_threads % warp_size != 0) {
        fault = std::string("kernel ") + asked.name + ": a block is 1 to 32 whole warps";
        return;
    }
    blockDim = {asked.block[0], asked.block[1], asked.block[2]};
    gridDim = {asked.grid[0], asked.grid[1], asked.grid[2]};
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z) {
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y) {
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) {
                // Of its own size, so that the address sanitizer sees its ends; NaN to whoever reads before writing.
                const std::unique_ptr<void, decltype(&free)> memory(malloc(asked.shared_bytes), free);
                shared = memset(memory.get(), 0xff, asked.shared_bytes);
                run_block(n_threads);
                if (!fault.empty()) return;
            }
        }
    }
}

}  // namespace callbox
