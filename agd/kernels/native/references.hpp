// Names of the reference sequences, both ways.
#pragma once

#include "common.hpp"

#include <string_view>
#include <unordered_map>

namespace agd {

class References {
  public:
    References(const In<uint8_t> &names, const In<int64_t> &offsets)
        : names_((const char *)names.data()), offsets_(offsets.data()), count_((int64_t)offsets.size() - 1) {
        check_offsets(offsets_, offsets.size(), (int64_t)names.size(), "offsets outside of the reference names");
    }
    int64_t count() const { return count_; }
    std::string_view name(int64_t index) const {
        return {names_ + offsets_[index], (size_t)(offsets_[index + 1] - offsets_[index])};
    }

  private:
    const char *names_;
    const int64_t *offsets_;
    int64_t count_;
};

// Finds references by name; of equal names the first wins.
class ReferenceIndex {
  public:
    explicit ReferenceIndex(const References &references) {
        index_.reserve((size_t)references.count());
        for (int64_t i = 0; i < references.count(); i++) index_.try_emplace(references.name(i), (int32_t)i);
    }
    // Index of the reference, -1 if there is none of this name.
    int32_t find(std::string_view name) {
        if (name == last_) return last_index_;  // neighbours are on the same reference as a rule
        const auto entry = index_.find(name);
        if (entry == index_.end()) return -1;
        last_ = entry->first;
        return last_index_ = entry->second;
    }

  private:
    std::unordered_map<std::string_view, int32_t> index_;
    std::string_view last_;
    int32_t last_index_ = -1;
};

}  // namespace agd
