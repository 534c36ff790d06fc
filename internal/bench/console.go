//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// console makes what Chinese consoles show.
type console struct {
	r *rand.Rand
	b []byte
}

// block appends the output of one command.
func (c *console) block(b []byte) []byte {
	c.b = b
	commands := []func(){c.dir, c.ipconfig, c.tasklist, c.ls, c.compiler, c.compiler, c.ping}
	commands[c.r.IntN(len(commands))]()
	return c.b
}

func (c *console) line(format string, args ...any) {
	c.b = append(fmt.Appendf(c.b, format, args...), '\n')
}

// winLine ends as Windows ends lines.
func (c *console) winLine(format string, args ...any) { c.line(format+"\r", args...) }

func (c *console) pick(words string) string {
	w := strings.Fields(words)
	return w[c.r.IntN(len(w))]
}

// n is a number below limit.
func (c *console) n(limit int) int { return c.r.IntN(limit) }

func (c *console) word() string {
	return c.pick("年度 季度 财务 项目 会议 客户 销售 测试 数据 系统 备份 配置 安装 说明 记录 报告 汇总 计划 合同 图片 " +
		"部署 需求 设计 接口 用户 权限 日志 分析 统计 发布 版本 更新 问题 方案 培训 资料 通知 流程 采购 库存 人员 档案")
}

func (c *console) person() string {
	return c.pick("王 李 张 刘 陈 杨 赵 黄 周 吴") + c.pick("伟 芳 娜 敏 静 丽 强 磊 军 洋 勇 艳 杰 娟 涛 明 超 秀英 建国 志强")
}

// file is a name, mostly a Chinese one.
func (c *console) file() string {
	suffix := c.pick(".docx .xlsx .txt .pdf .log .zip .csv .bak")
	switch c.n(5) {
	case 0:
		return fmt.Sprintf("%s%02d%s", c.pick("report setup backup main config server"), c.n(100), suffix)
	case 1:
		return fmt.Sprintf("%s%s(%d)%s", c.word(), c.word(), 1+c.n(9), suffix)
	case 2:
		return c.person() + "的" + c.word() + c.word() + c.word() + suffix
	}
	return c.word() + c.word() + c.word() + c.word() + suffix
}

func (c *console) dir() {
	c.winLine(" 驱动器 %s 中的卷是 %s", c.pick("C D E"), c.pick("系统 数据 软件 新加卷"))
	c.winLine(" 卷的序列号是 %04X-%04X", c.n(1<<16), c.n(1<<16))
	c.winLine("")
	c.winLine(` C:\用户\%s\%s%s 的目录`, c.person(), c.word(), c.word())
	c.winLine("")
	files := 5 + c.n(15)
	for range files {
		date := fmt.Sprintf("%d/%02d/%02d  %02d:%02d", 2015+c.n(12), 1+c.n(12), 1+c.n(28), c.n(24), c.n(60))
		if c.n(5) == 0 {
			c.winLine("%s    <DIR>          %s%s", date, c.word(), c.word())
			continue
		}
		c.winLine("%s%18d %s", date, c.n(1<<24), c.file())
	}
	c.winLine("%16d 个文件 %14d 字节", files, c.n(1<<30))
	c.winLine("%16d 个目录 %14d 可用字节", 2+c.n(20), c.r.Int64N(1<<40))
}

func (c *console) ipconfig() {
	c.winLine("")
	c.winLine("Windows IP 配置")
	c.winLine("")
	for _, adapter := range []string{"以太网适配器 以太网", "无线局域网适配器 本地连接* 1", "以太网适配器 蓝牙网络连接"} {
		c.winLine("%s:", adapter)
		c.winLine("")
		if c.n(3) == 0 {
			c.winLine("   媒体状态  . . . . . . . . . . . . : 媒体已断开连接")
		}
		c.winLine("   连接特定的 DNS 后缀 . . . . . . . : corp%d.example", c.n(100))
		c.winLine("   描述. . . . . . . . . . . . . . . : 千兆以太网控制器 #%d", c.n(10))
		c.winLine("   物理地址. . . . . . . . . . . . . : %02X-%02X-%02X-%02X", c.n(256), c.n(256), c.n(256), c.n(256))
		c.winLine("   DHCP 已启用 . . . . . . . . . . . : %s", c.pick("是 否"))
		c.winLine("   IPv4 地址 . . . . . . . . . . . . : 192.168.%d.%d(首选)", c.n(256), c.n(256))
		c.winLine("   子网掩码  . . . . . . . . . . . . : 255.255.255.0")
		c.winLine("   默认网关. . . . . . . . . . . . . : 192.168.%d.1", c.n(256))
		c.winLine("   获得租约的时间  . . . . . . . . . : 2026年%d月%d日 %02d:%02d:%02d", 1+c.n(12), 1+c.n(28), c.n(24), c.n(60), c.n(60))
		c.winLine("")
	}
}

func (c *console) tasklist() {
	c.winLine("")
	c.winLine("映像名称                       PID 会话名              会话#       内存使用 ")
	c.winLine("========================= ======== ================ =========== ============")
	for range 4 + c.n(8) {
		image := c.pick("svchost explorer chrome WeChat QQ WINWORD services lsass rexecd") + ".exe"
		if c.n(3) > 0 {
			image = c.word() + c.pick("助手 管家 中心 工具 服务") + ".exe"
		}
		c.winLine("%-25s %8d %-16s %11d %10d K", image, c.n(30000), c.pick("Console Services"), c.n(3), c.n(1<<20))
	}
}

func (c *console) ls() {
	c.line("总用量 %d", c.n(100000))
	for range 5 + c.n(20) {
		c.line("%s %d %s %s %8d %d月 %2d %02d:%02d %s", c.pick("-rw-r--r-- -rwxr-xr-x drwxr-xr-x -rw-------"), 1+c.n(4),
			c.pick("root www oracle"), c.pick("root www dba"), c.n(1<<22), 1+c.n(12), 1+c.n(28), c.n(24), c.n(60), c.file())
	}
}

func (c *console) compiler() {
	name := c.pick("main.c server.c util.c conn.c parse.c")
	for range 8 + c.n(20) {
		at := fmt.Sprintf("src/%s:%d:%d", name, 1+c.n(2000), 1+c.n(80))
		variable := c.pick("count buffer fd result index timeout")
		switch c.n(5) {
		case 0:
			c.line("src/%s: 在函数‘%s_init’中:", name, variable)
		case 1:
			c.line("%s: 错误：‘%s’未声明(在此函数内第一次使用)", at, variable)
		case 2:
			c.line("%s: 警告：未使用的变量‘%s’ [-Wunused-variable]", at, variable)
		case 3:
			c.line("%s: 附注：每个未声明的标识符在其出现的函数内只报告一次", at)
		case 4:
			c.line("%s: 警告：隐式声明函数‘%s’，传递给形参的实参类型不兼容", at, variable)
		}
	}
	c.line("make: *** [Makefile:%d：build/%s.o] 错误 1", 1+c.n(200), name)
}

func (c *console) ping() {
	host := fmt.Sprintf("192.168.%d.%d", c.n(256), c.n(256))
	c.winLine("")
	c.winLine("正在 Ping %s 具有 32 字节的数据:", host)
	for range 4 {
		if c.n(6) == 0 {
			c.winLine("请求超时。")
			continue
		}
		c.winLine("来自 %s 的回复: 字节=32 时间=%dms TTL=%d", host, c.n(200), 50+c.n(78))
	}
	c.winLine("    数据包: 已发送 = 4，已接收 = 4，丢失 = 0 (0%% 丢失)，")
	c.winLine("    最短 = %dms，最长 = %dms，平均 = %dms", c.n(20), 100+c.n(100), 20+c.n(80))
}
