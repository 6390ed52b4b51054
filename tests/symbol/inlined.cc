/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * C++ of which the compiler inlines much: templates, lambdas, the standard library, member functions of nested and anonymous
 * namespaces, exceptions with cold parts, constructors with several entries. Never run; its addresses are asked about.
 */
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace shop {

template <typename T, int N> struct ring {
	T items[N];
	unsigned int at = 0;
	void push(const T &item) { items[at++ % N] = item; }
	T sum() const { return std::accumulate(items, items + N, T()); }
	template <typename F> void each(F fn) const { for (const T &item : items) fn(item); }
};

struct base {
	virtual ~base() {}
	virtual long price(long n) const = 0;
};

struct virtually : virtual base {
	std::string label;
	explicit virtually(const char *l) : label(l) {}
	~virtually() override { label += "!"; }
};

namespace {

inline long taxed(long n) { return n * 119 / 100; }
inline long rounded(long n) { return taxed(n) / 5 * 5; }

struct discount : virtually {
	ring<long, 8> last;
	discount() : virtually("discount") {}
	long price(long n) const override
	{
		if (n < 0)
			throw std::invalid_argument(label + " of " + std::to_string(n));
		return rounded(n - last.sum() / 8);
	}
};

}

struct cart {
	std::map<std::string, std::vector<long>> lines;
	std::function<long(long)> rule;
	bool operator<(const cart &other) const { return total() < other.total(); }
	long total() const
	{
		long sum = 0;
		for (const auto &line : lines)
			sum += std::accumulate(line.second.begin(), line.second.end(), 0L,
					       [this](long a, long n) { return a + (rule ? rule(n) : rounded(n)); });
		return sum;
	}
	void add(const std::string &name, long n)
	{
		auto &line = lines[name];
		line.push_back(n);
		std::sort(line.begin(), line.end(), [](long a, long b) { return taxed(a) > taxed(b); });
	}
};

template <typename T> T median(std::vector<T> list)
{
	if (list.empty())
		throw std::out_of_range("nothing");
	std::nth_element(list.begin(), list.begin() + list.size() / 2, list.end());
	return list[list.size() / 2];
}

}

struct plain { double x; char name[24]; };
bool operator==(const plain &a, const plain &b) { return a.x == b.x && std::string(a.name) == b.name; }
std::string operator+(const plain &a, const std::string &b) { return a.name + ("/" + b); }

static long checkout(int argc, char **argv)
{
	std::vector<shop::cart> carts(argc);
	std::unique_ptr<shop::base> rule(new shop::discount);
	shop::ring<double, 4> prices{};
	long sum = 0;

	for (int i = 1; i < argc; i++) {
		carts[i].rule = [&rule, i](long n) { return rule->price(n) + i; };
		try {
			carts[i].add(argv[i], std::stol(argv[i]));
			prices.push(carts[i].total());
		} catch (const std::exception &e) {
			std::fprintf(stderr, "%s: %s\n", argv[i], e.what());
		}
	}
	std::sort(carts.begin(), carts.end());
	prices.each([&sum](double p) { sum += shop::rounded(static_cast<long>(p)); });
	return sum + shop::median(std::vector<long>{ sum, 1, 2 }) + shop::median(std::vector<double>{ 1.5, prices.sum() });
}

int main(int argc, char **argv)
{
	const plain a = { 1.5, "a" }, b = { static_cast<double>(checkout(argc, argv)), "b" };

	std::printf("%s %d\n", (a + std::string(b.name)).c_str(), a == b);
	return 0;
}
