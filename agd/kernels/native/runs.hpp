// Runs of one letter among others.
#pragma once

#include "owned.hpp"

#include <utility>
#include <vector>

namespace agd {

struct Runs {
    std::vector<int64_t> starts, lengths;
    std::vector<uint8_t> letters;

    // A run that goes on from the last one is no new one.
    void add(int64_t at, int64_t length, uint8_t letter) {
        if (!starts.empty() && letters.back() == letter && starts.back() + lengths.back() == at) {
            lengths.back() += length;
        } else {
            starts.push_back(at);
            lengths.push_back(length);
            letters.push_back(letter);
        }
    }

    // Starts, lengths and letters, which are given away.
    nb::tuple arrays() {
        return nb::make_tuple(owned(std::move(starts)), owned(std::move(lengths)), owned(std::move(letters)));
    }
};

}  // namespace agd
