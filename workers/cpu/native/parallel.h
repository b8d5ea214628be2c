// Work on several threads, and memory each of them keeps.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "vectors.h"

// Calls work(i) for each i below n_items. What it writes must depend on i alone: then results do not depend on n_threads.
template <class Work>
void for_each_item(int64_t n_items, int n_threads, Work work) {
    if (n_threads <= 1 || n_items <= 1) {
        for (int64_t i = 0; i < n_items; ++i) work(i);
        return;
    }
    std::atomic<int64_t> next{0};
    std::atomic<bool> has_failed{false};
    std::exception_ptr failure;
    auto run = [&] {
        try {
            for (int64_t i = next++; i < n_items; i = next++) work(i);
        } catch (...) {
            next = n_items;  // the others stop too
            if (!has_failed.exchange(true)) failure = std::current_exception();
        }
        finish_streams();
    };
    std::vector<std::thread> threads;
    try {
        for (int t = 1; t < n_threads && t < n_items; ++t) threads.emplace_back(run);
    } catch (const std::system_error&) {
        // fewer threads than asked for: those there are do all of it
    }
    run();
    for (auto& thread : threads) thread.join();
    if (failure) std::rethrow_exception(failure);
}

// 0, or 1 where memory or threads ran out: exceptions do not cross the C interface.
template <class Work>
int run_guarded(Work work) {
    try {
        work();
        return 0;
    } catch (const std::exception&) {
        return 1;
    }
}

// Memory of one thread, kept for its next call; never initialized.
class Scratch {
public:
    ~Scratch() { std::free(memory_); }
    float* reserve(int64_t n_floats) {
        if (n_floats > capacity_) {
            std::free(memory_);
            capacity_ = 0;
            memory_ = static_cast<float*>(std::aligned_alloc(64, (n_floats * 4 + 63) / 64 * 64));
            if (!memory_) throw std::bad_alloc();
            capacity_ = n_floats;
        }
        return memory_;
    }

private:
    float* memory_ = nullptr;
    int64_t capacity_ = 0;
};
