// An array on the device under test, for tests that run single steps on memory of their own.
#pragma once

#include <cstddef>
#include <vector>

#include "tests/reference/test_device.h"

namespace vigil::reference {

// Memory on the device under test with the lifetime of a test.
template <class T>
class DeviceArray {
   public:
    explicit DeviceArray(const std::vector<T>& values) : size_(values.size()) {
        data_ = static_cast<T*>(test_device().allocate(size_ * sizeof(T)));
        test_device().upload(data_, values.data(), size_ * sizeof(T));
        test_device().flush_uploads();
    }
    ~DeviceArray() { test_device().release(data_); }
    DeviceArray(const DeviceArray&) = delete;
    DeviceArray& operator=(const DeviceArray&) = delete;

    T* get() const { return data_; }
    std::vector<T> read() const {
        std::vector<T> values(size_);
        test_device().download(values.data(), data_, size_ * sizeof(T));
        return values;
    }

   private:
    std::size_t size_;
    T* data_;
};

}  // namespace vigil::reference
