// Running one launch: what the table of kernels asks of fibers.cpp or threads.cpp.
#pragma once

namespace callbox {

struct Launch {
    const char* name;
    const unsigned* grid;
    const unsigned* block;
    unsigned shared_bytes;
    // The kernel, with its parameters behind these pointers.
    void (*body)(void** parameters);
    void** parameters;
};

// Runs all blocks one after the other. Launches of several host threads come one at a time.
void run(const Launch& launch);

// What went wrong in the last launch of this host thread, or null.
const char* last_fault();

}  // namespace callbox
