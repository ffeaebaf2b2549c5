import { Controller, Get, HttpStatus, Post, Redirect, Render, Req, UseFilters, UseGuards } from '@nestjs/common';
import type { Request } from 'express';
import { LoginGuard, SignedInGuard, ToLoginFilter } from './auth/guards.js';

@Controller()
export class AppController {
  @Get('login')
  @Render('login')
  loginForm(): object {
    return {};
  }

  @Post('login')
  @UseGuards(LoginGuard)
  @Redirect('/account', HttpStatus.SEE_OTHER)
  login(): void {}

  @Post('logout')
  @Redirect('/login', HttpStatus.SEE_OTHER)
  logout(@Req() request: Request): Promise<void> {
    return new Promise((resolve, reject) => request.logout((error) => (error ? reject(error) : resolve())));
  }

  @Get('account')
  @UseGuards(SignedInGuard)
  @UseFilters(ToLoginFilter)
  @Render('account')
  account(@Req() request: Request): object {
    return { user: request.user };
  }
}
