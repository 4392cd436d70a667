#include "limits/limits_cache.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace flashmoe::limits {
namespace {

using Json = nlohmann::json;

// Figures that no machine gives, so that it shows whether something was measured.
constexpr double kMemory = 1.25, kInt8 = 2.5;

class LimitsCacheTest : public testing::Test {
 protected:
  Json good() const {
    return {{"version", LimitsCache::kVersion},
            {"machines",
             {{{"of", machine_key(1)}, {"memory_bytes_s", kMemory}, {"int8_ops_s", kInt8}}}},
            {"disks",
             {{{"of", disk_key(data_, 4096)},
               {"uring_bytes_s", 3.0},
               {"pread_bytes_s", 4.0},
               {"buffered_bytes_s", 5.0}}}}};
  }
  void write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }
  bool knows_machine() const { return LimitsCache(path_).known_machine(1).has_value(); }
  bool knows_disk() const { return LimitsCache(path_).known_disk(data_, 4096).has_value(); }

  const TempFolder temp_;
  const std::string path_ = temp_.path() + "/limits.json";
  const std::string data_ = temp_.path() + "/data";
  const bool made_ = static_cast<bool>(std::ofstream(data_) << std::string(1 << 16, 'x'));
};

TEST_F(LimitsCacheTest, GivesWhatIsKept) {
  write(good().dump());
  LimitsCache cache(path_);
  EXPECT_EQ(cache.machine(1).memory_bytes_s, kMemory);
  EXPECT_EQ(cache.machine(1).int8_ops_s, kInt8);
  const DiskRates rates = cache.disk(data_, 4096);
  EXPECT_EQ(rates.uring_bytes_s, 3);
  EXPECT_EQ(rates.pread_bytes_s, 4);
  EXPECT_EQ(rates.buffered_bytes_s, 5);
  EXPECT_TRUE(cache.notes().empty());
}

TEST_F(LimitsCacheTest, KeysTellThreadsAndReadSizesApart) {
  write(good().dump());
  const LimitsCache cache(path_);
  EXPECT_FALSE(cache.known_machine(2));
  EXPECT_FALSE(cache.known_disk(data_, 8192));
  EXPECT_THROW(disk_key(temp_.path() + "/nothing", 4096), Error);
}

TEST_F(LimitsCacheTest, KeepsWhatItMeasures) {
  const std::string deep = temp_.path() + "/a/b/limits.json";
  LimitsCache cache(deep);
  const DiskRates rates = cache.disk(data_, 4096);
  EXPECT_GT(rates.buffered_bytes_s, 0);
  EXPECT_TRUE(cache.notes().empty());
  EXPECT_EQ(LimitsCache(deep).known_disk(data_, 4096)->buffered_bytes_s, rates.buffered_bytes_s);
  cache.forget();
  EXPECT_FALSE(LimitsCache(deep).known_disk(data_, 4096));
}

TEST_F(LimitsCacheTest, DamagedFilesCountAsEmpty) {
  const std::string whole = good().dump();
  for (size_t length = 0; length < whole.size(); length += 7) {
    write(whole.substr(0, length));
    EXPECT_FALSE(knows_machine()) << length;
  }
  for (const char* text : {"", "null", "[]", "{}", "\xff\xfe", "{\"version\":2,\"machines\":3}",
                           "{\"version\":2,\"machines\":[3,{},{\"of\":7}],\"disks\":{}}"}) {
    write(text);
    EXPECT_FALSE(knows_machine()) << text;
    EXPECT_FALSE(knows_disk()) << text;
  }
  write(std::string(size_t{3} << 20, '['));
  EXPECT_FALSE(knows_machine());
  write(whole + std::string(size_t{2} << 20, ' '));
  EXPECT_FALSE(knows_machine());
}

TEST_F(LimitsCacheTest, ForeignAndAbsurdFiguresCountAsUnknown) {
  Json json = good();
  json["version"] = LimitsCache::kVersion + 1;
  write(json.dump());
  EXPECT_FALSE(knows_machine());
  for (const Json& absurd : {Json(-1), Json("fast"), Json(), Json(Json::array())}) {
    json = good();
    json["machines"][0]["memory_bytes_s"] = absurd;
    json["disks"][0]["pread_bytes_s"] = absurd;
    write(json.dump());
    EXPECT_FALSE(knows_machine()) << absurd;
    EXPECT_FALSE(knows_disk()) << absurd;
  }
  std::string huge = good().dump();
  huge.replace(huge.find("1.25"), 4, "1e999");
  write(huge);
  EXPECT_FALSE(knows_machine());
}

TEST_F(LimitsCacheTest, AFileThatCannotBeWrittenCostsOneNote) {
  // A file where a folder should be stops even the superuser.
  LimitsCache cache(data_ + "/limits.json");
  EXPECT_GT(cache.disk(data_, 4096).buffered_bytes_s, 0);
  EXPECT_GT(cache.disk(data_, 8192).buffered_bytes_s, 0);
  ASSERT_EQ(cache.notes().size(), 1u);
  EXPECT_NE(cache.notes()[0].find("not kept"), std::string::npos);
  LimitsCache nowhere("");
  EXPECT_GT(nowhere.disk(data_, 4096).buffered_bytes_s, 0);
  EXPECT_TRUE(nowhere.notes().empty());
}

class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = getenv(name)) old_ = old;
    setenv(name, value, 1);
  }
  ~Variable() { setenv(name_, old_.c_str(), 1); }

 private:
  const char* name_;
  std::string old_;
};

TEST(DefaultCachePathTest, FollowsTheEnvironment) {
  const Variable home("HOME", "/h");
  {
    const Variable xdg("XDG_CACHE_HOME", "/x");
    EXPECT_EQ(default_cache_path(), "/x/flashmoe/limits.json");
  }
  const Variable xdg("XDG_CACHE_HOME", "");
  EXPECT_EQ(default_cache_path(), "/h/.cache/flashmoe/limits.json");
  const Variable no_home("HOME", "");
  EXPECT_EQ(default_cache_path(), "");
}

}  // namespace
}  // namespace flashmoe::limits
